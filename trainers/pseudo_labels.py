"""Labels for texts that have none: what a classifier is surest of.

Self-training as of Lee (2013), "Pseudo-Label", and of the bootstrapping of
Eisenschlos et al. (2019), "MultiFiT", section 3; not of the ULMFiT paper.
"""

import dataclasses
import logging
import math

import numpy as np

from trainers.command_line import UserError
from ulmfit_tf.data.task_type import TaskType
from ulmfit_tf.data.token_cache import tokenize_corpus

_log = logging.getLogger("trainers")
# Share of the texts read of which the answers are taken for labels. On short
# reviews a classifier with 25 % errors had 11 % in these two fifths
# (docs/results).
_SUREST = 0.4


def check_pseudo_labels(dataset, wanted):
    """Raises `UserError` if a data set can have no pseudo-labels.

    Args:
        dataset: `TextDataset`.
        wanted: Int, `--pseudo-labels`; 0 asks for none.
    """
    if wanted < 0:
        raise UserError(
            "`--pseudo-labels` must be a number of texts, 0 for none. "
            f"Received: {wanted}."
        )
    if not wanted:
        return
    if dataset.task_type is TaskType.MULTI_LABEL:
        raise UserError(
            "`--pseudo-labels` is for classes that exclude each other. Leave "
            "it out with texts of any number of labels."
        )
    if not _most(len(dataset.unlabelled_texts)):
        raise UserError(
            "`--pseudo-labels` needs texts without a label, of which it takes "
            f"{100 * _SUREST:.0f} % at most. Received: "
            f"{len(dataset.unlabelled_texts)}. Put them into a table or a "
            "folder `unlabelled` beside the training texts, keep some labels "
            "only with `--num-labels`, or leave it out."
        )


def texts_to_read(dataset, held_out, wanted, seed):
    """Returns the texts that a classifier is asked of, drawn at random.

    Args:
        dataset: `TextDataset` without the validation examples.
        held_out: List of str, the validation texts.
        wanted: Int, texts that are to get a label.
        seed: Int; the same seed draws the same texts.

    Returns:
        List of str, none of which is a text that has a label or is tested on,
        blanks aside.
    """
    known = {
        text.strip()
        for texts in (
            dataset.train_texts,
            held_out,
            dataset.test_texts or (),
        )
        for text in texts
    }
    texts = [
        text for text in dataset.unlabelled_texts if text.strip() not in known
    ]
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
        wanted: Int, labels to give; at most two fifths of the texts get one.

    Returns:
        `(indices, labels)`, int arrays of the chosen texts, ascending.
    """
    wanted = min(wanted, _most(len(probabilities)))
    quotas = np.rint(wanted * label_counts / label_counts.sum()).astype(int)
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
        texts: List of str, what the classifier was asked of.
        probabilities: Float array `(texts, classes)`, its answers.
        wanted: Int, see `surest`.

    Returns:
        A `Task`; all else is the given one's.
    """
    dataset = task.dataset
    counts = np.bincount(dataset.train_labels, minlength=len(dataset.classes))
    indices, labels = surest(probabilities, counts, wanted)
    note = (
        f"Trained a second time beside {len(indices)} of "
        f"{len(dataset.unlabelled_texts)} texts without a label, with the "
        "first classifier's answers for labels: of each class the surest of "
        f"{len(texts)} texts."
    )
    _log.info(note)
    train_texts = [*dataset.train_texts, *(texts[i] for i in indices)]
    return dataclasses.replace(
        task,
        dataset=dataclasses.replace(
            dataset,
            train_texts=train_texts,
            train_labels=np.concatenate(
                [
                    dataset.train_labels,
                    labels.astype(dataset.train_labels.dtype),
                ]
            ),
            notes=(*dataset.notes, note),
        ),
        train=tokenize_corpus(train_texts, task.tokenizer),
    )


def _most(num_texts):
    return int(_SUREST * num_texts)
