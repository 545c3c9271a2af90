"""Labels for texts that have none: what a classifier is surest of.

One round of self-training: the surest answers of each class are labels of a
second training. After the pseudo-labels of Lee (2013), which are anew at each
step and of all texts; not of the ULMFiT paper.
"""

import dataclasses
import logging
import math

import numpy as np

from trainers.command_line import UserError
from ulmfit_tf.data.splits import proportional_shares
from ulmfit_tf.data.token_cache import tokenize_corpus

_log = logging.getLogger("trainers")
# Share of the texts read of which the answers are taken for labels. On short
# reviews a tenth gained less (docs/results).
_SUREST = 0.4


def check_pseudo_labels(dataset):
    """Raises `UserError` if a data set has too few texts without a label.

    Args:
        dataset: `TextDataset` with the validation examples.
    """
    count = len(_candidates(dataset))
    if not _most(count):
        raise UserError(
            "`--pseudo-labels` needs texts without a label, other than those "
            f"with one, of which it takes {100 * _SUREST:.0f} % at most. "
            f"Received: {count}. Put them into a table `unlabelled` in one "
            "folder with the table `train`, or into a folder `unlabelled` "
            "beside those of the classes; keep only some labels with "
            "`--num-labels`; or leave it out."
        )


def texts_to_read(dataset, validation_texts, wanted, seed):
    """Returns the texts whose labels a classifier is asked for.

    Args:
        dataset: `TextDataset` without the validation examples.
        validation_texts: List of str.
        wanted: Int, texts that are to get a label.
        seed: Int; the same seed draws the same texts.

    Returns:
        List of str, drawn at random: different texts, none of which has a
        label or is measured on.
    """
    texts = _candidates(dataset, validation_texts)
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[i] for i in order[: math.ceil(wanted / _SUREST)]]


def surest(probabilities, label_counts, wanted):
    """Returns the answers that are taken for labels.

    Of each class those with the highest probability, in number by the class'
    share of the labels, and fewer where fewer texts are answered with it: by
    probability alone the classes that are easily told would be learned more.

    Args:
        probabilities: Float array `(texts, classes)`.
        label_counts: Int array `(classes,)`, texts with a label of each.
        wanted: Int, labels to give at most; two fifths of the texts get one
            at most.

    Returns:
        `(indices, labels)`, int arrays of the chosen texts, ascending.
    """
    wanted = min(wanted, _most(len(probabilities)))
    quotas = proportional_shares(
        label_counts, wanted, np.zeros_like(label_counts), wanted
    )
    answers = probabilities.argmax(axis=1)
    chosen = []
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(answers == label)
        order = np.argsort(-probabilities[members, label], kind="stable")
        chosen.append(members[order[:quota]])
    indices = np.sort(np.concatenate(chosen))
    return indices, answers[indices]


def with_pseudo_labels(task, texts, probabilities, wanted):
    """Returns a task with more training texts, labelled by a classifier.

    Args:
        task: `Task`.
        texts: List of str, what the classifier was asked for.
        probabilities: Float array `(texts, classes)`, its answers.
        wanted: Int, see `surest`.

    Returns:
        A `Task` with a note; its `fingerprint` stays that of the data.
    """
    dataset = task.dataset
    counts = np.bincount(dataset.train_labels, minlength=len(dataset.classes))
    indices, labels = surest(probabilities, counts, wanted)
    note = (
        f"Trained a second time, beside {len(indices)} texts without a label "
        f"(of {wanted} asked for), with the first classifier's answers for "
        f"labels: of each class the surest of {len(texts)} texts that it read."
    )
    _log.info(note)
    train_texts = [*dataset.train_texts, *(texts[i] for i in indices)]
    labels = labels.astype(dataset.train_labels.dtype)
    return dataclasses.replace(
        task,
        dataset=dataclasses.replace(
            dataset,
            train_texts=train_texts,
            train_labels=np.concatenate([dataset.train_labels, labels]),
            notes=(*dataset.notes, note),
        ),
        train=tokenize_corpus(train_texts, task.tokenizer),
    )


def _candidates(dataset, validation_texts=()):
    """Different texts without a label that nothing else has, blanks aside."""
    known = {
        text.strip()
        for texts in (
            dataset.train_texts,
            validation_texts,
            dataset.test_texts or (),
        )
        for text in texts
    }
    different = {text.strip(): text for text in dataset.unlabelled_texts}
    return [text for key, text in different.items() if key not in known]


def _most(num_texts):
    return int(_SUREST * num_texts)
