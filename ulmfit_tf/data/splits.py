"""Stratified, seeded splits of a data set's training examples.

Where a text has several labels, see `label_subsets`: shares are then kept as
far as that is possible, and a class with few texts may lie on one side only,
the one that is trained on.
"""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.label_subsets import stratified_subset
from ulmfit_tf.data.task_type import TaskType

if TYPE_CHECKING:
    from ulmfit_tf.data.dataset import TextDataset


# Of the validation texts: with more copies in the training texts they go along.
# A few hardly matter, and there are published splits with some (TREC-6: 3 %).
_MANY_COPIES = 0.05
# Examples of a class: whoever holds out test examples goes on to hold out
# validation examples.
_NEEDED = {"validation": 2, "test": 3}
_REMEDY = {
    "validation": "",
    "test": " Or do without a test split: `--test-fraction 0`.",
}


def split_validation(
    dataset: "TextDataset", fraction: float, seed: int
) -> tuple["TextDataset", list[str], np.ndarray]:
    """Splits validation examples off the training examples.

    Args:
        dataset: The data set to split.
        fraction: Fraction of the training examples to split off, strictly
            between 0 and 1. Howard & Ruder (2018, section 5) use 0.1.
        seed: Seed; the same seed gives the same split.

    Returns:
        The data set without the validation examples, the validation texts,
        and their labels, int32 `(validation texts,)`. All keep the order
        they had. Where many texts are there several times, copies lie on the
        same side.

    Raises:
        DataError: If a class, or the split as a whole, has too few examples.
    """
    kept, held_out = _split_indices(
        dataset, fraction, seed, "validation", _MANY_COPIES
    )
    return (
        _keep(dataset, kept),
        [dataset.train_texts[i] for i in held_out],
        dataset.train_labels[held_out],
    )


def hold_out_test(
    dataset: "TextDataset", fraction: float, seed: int
) -> "TextDataset":
    """Turns part of the training examples into the test split.

    For data that comes without one; says so in the data set's `notes`. Where
    texts are there several times, different texts are drawn, and their copies
    go along: a model that has been trained on a text is not tested by it. A
    class with too few different texts then stays in the training examples.

    Args:
        dataset: A data set without test split.
        fraction: Fraction of the training examples, strictly between 0
            and 1.
        seed: Seed; the same seed gives the same split.

    Raises:
        DataError: If a class, or the split as a whole, has too few examples.
    """
    kept, held_out = _split_indices(dataset, fraction, seed, "test", 0.0)
    note = (
        f"`{dataset.name}` has no test split: {len(held_out)} of its "
        f"{len(dataset.train_texts)} labelled examples were held out as one "
        f"(fraction {fraction:g}, stratified, seed {seed})."
        + _not_held_out(dataset, held_out)
    )
    return dataclasses.replace(
        _keep(dataset, kept),
        test_texts=[dataset.train_texts[i] for i in held_out],
        test_labels=dataset.train_labels[held_out],
        notes=(*dataset.notes, note),
    )


def repeated_texts(texts: list[str], others: list[str]) -> int:
    """Returns how many of some texts are among the others, blanks aside."""
    known = {text.strip() for text in others}
    return sum(text.strip() in known for text in texts)


def without_held_out(
    dataset: "TextDataset", held_out: list[str], part: str
) -> "TextDataset":
    """Leaves out the unlabelled texts that are held out, blanks aside.

    An unlabelled file may hold the labelled texts as well; what is measured
    on would be read after all. Says so in the data set's `notes`.

    Args:
        dataset: A data set without the texts that were held out.
        held_out: Those texts.
        part: What they are, `"validation"` or `"test"`.
    """
    known = {text.strip() for text in held_out}
    texts = [
        text for text in dataset.unlabelled_texts if text.strip() not in known
    ]
    left_out = len(dataset.unlabelled_texts) - len(texts)
    if not left_out:
        return dataset
    note = (
        f"{left_out} unlabelled texts of `{dataset.name}` are left out, as "
        f"they are {part} texts."
    )
    return dataclasses.replace(
        dataset, unlabelled_texts=texts, notes=(*dataset.notes, note)
    )


def limit_labels(
    dataset: "TextDataset", num_labels: int, seed: int
) -> "TextDataset":
    """Keeps the labels of `num_labels` training examples only.

    The other training texts move to `unlabelled_texts`: the low-shot,
    semi-supervised setting of Howard & Ruder (2018, section 5, figure 3).

    Classes keep their proportions, but each keeps at least two examples, if
    it has them: one to train and one to validate on. (scikit-learn's
    stratified splitters refuse subsets this small, or leave a rare class
    without an example.)

    Args:
        dataset: The data set to reduce.
        num_labels: Number of labelled training examples to keep, at least
            two per class. An example with several labels counts once, and is
            one for each of them.
        seed: Seed; the same seed keeps the same examples.

    Raises:
        DataError: If `num_labels` is too small for two examples of each
            class, or above the number of training examples.
    """
    available = len(dataset.train_texts)
    if num_labels > available:
        raise DataError(
            f"`{dataset.name}` has {available} training examples, too few to "
            f"keep {num_labels} labels. Ask for fewer."
        )
    least = np.minimum(_label_counts(dataset), 2)
    kept = np.zeros(0, "int64")
    if dataset.task_type is TaskType.MULTI_LABEL:
        # A text may be one of several labels' examples: how few texts are
        # enough, the draw shows.
        kept = stratified_subset(
            dataset.train_labels, max(num_labels, 0), at_least=2, seed=seed
        )
    elif num_labels >= least.sum():
        kept = _of_each_class(dataset.train_labels, num_labels, seed)
    if (_label_counts(dataset, kept) < least).any():
        raise DataError(
            f"{num_labels} labels of `{dataset.name}` are too few for two of "
            "each class, one to train and one to validate on. Ask for more: "
            f"{min(least.sum(), available)} are enough."
        )
    rest = np.setdiff1d(np.arange(available), kept)
    return dataclasses.replace(
        _keep(dataset, kept),
        unlabelled_texts=[
            *dataset.unlabelled_texts,
            *(dataset.train_texts[i] for i in rest),
        ],
    )


def _label_counts(dataset, indices=slice(None)):
    """Returns how many training examples have each class, int `(classes,)`."""
    labels = dataset.train_labels[indices]
    if dataset.task_type is TaskType.MULTI_LABEL:
        return labels.sum(axis=0)
    return np.bincount(labels, minlength=len(dataset.classes))


def _of_each_class(labels, num_labels, seed):
    counts = np.bincount(labels)
    shares = proportional_shares(
        counts, num_labels, np.minimum(counts, 2), counts
    )
    return _drawn(labels, shares, seed)


def _drawn(labels, quotas, seed):
    """Returns indices of so many examples of each class, drawn, ascending."""
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(labels == label)
        chosen.extend(rng.choice(members, quota, replace=False))
    return np.sort(np.asarray(chosen, "int64"))


def _keep(dataset, indices):
    return dataclasses.replace(
        dataset,
        train_texts=[dataset.train_texts[i] for i in indices],
        train_labels=dataset.train_labels[indices],
    )


def _many_classes(counts):
    present = int((counts > 0).sum())
    if 2 * present <= counts.sum():
        return ""
    return (
        f" There are {present} classes in {counts.sum()} examples: check that "
        "the label column is the right one."
    )


def _not_held_out(dataset, held_out):
    """Says which classes have no example on the side that is held out."""
    counts = _label_counts(dataset)
    missing = (counts > 0) & (_label_counts(dataset, held_out) == 0)
    names = [f"`{dataset.classes[i]:.60}`" for i in np.flatnonzero(missing)]
    if not names:
        return ""
    named = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
    return f" None of them has one of these classes: {named}."


def _split_indices(dataset, fraction, seed, part, most_copies):
    """Returns the indices of the two sides, ascending.

    Up to a share of `most_copies` of the texts held out may be on the other
    side too; with more of them, different texts are drawn, not examples.
    """
    kept, held_out = _draw_examples(dataset, fraction, seed, part)
    texts = dataset.train_texts
    copies = repeated_texts(
        [texts[i] for i in held_out], [texts[i] for i in kept]
    )
    if copies <= most_copies * len(held_out):
        return kept, held_out
    return _draw_texts(dataset, fraction, seed, part)


def _draw_texts(dataset, fraction, seed, part):
    """Draws different texts, stratified, and takes all copies of each.

    What would not leave enough to train on stays there: the texts of a class
    that has too few different ones, and a text that alone would be more than
    half of what is to be held out (unless all are as frequent).
    """
    # An array of them would make each as wide as the longest.
    stripped = [text.strip() for text in dataset.train_texts]
    numbers = {text: i for i, text in enumerate(sorted(set(stripped)))}
    groups = np.array([numbers[text] for text in stripped])
    sizes = np.bincount(groups)
    counts = _label_counts(dataset)
    one_label = dataset.task_type is not TaskType.MULTI_LABEL
    # A text with several classes counts for the rarest.
    order = (
        np.argsort(counts[dataset.train_labels], kind="stable")
        if one_label
        else np.arange(len(groups))
    )
    _, first = np.unique(groups[order], return_index=True)
    firsts = order[first]
    most = max(fraction * len(groups) / 2, np.median(sizes))
    drawable = sizes <= most
    if one_label:
        labels = dataset.train_labels[firsts]
        of_class = np.bincount(labels[drawable], minlength=len(counts))
        drawable &= of_class[labels] >= _NEEDED[part]
    too_few = DataError(
        f"`{dataset.name}` has {len(sizes)} different texts in {len(groups)} "
        f"labelled examples, too few for a {part} split of texts that are not "
        f"trained on as well. Expected: at least {_NEEDED[part]} different "
        f"texts of a class. Add texts.{_REMEDY[part]}"
    )
    if drawable.sum() < _NEEDED[part]:
        raise too_few
    candidates = firsts[drawable]
    _, drawn = _draw_examples(_keep(dataset, candidates), fraction, seed, part)
    is_held_out = np.isin(groups, groups[candidates[drawn]])
    left = _label_counts(dataset, ~is_held_out)
    short = left < np.minimum(2, counts)
    if short.any():
        # Copies with other labels than that of the text drawn.
        has_short = (
            short[dataset.train_labels]
            if one_label
            else (dataset.train_labels[:, short] > 0).any(axis=1)
        )
        is_held_out &= ~np.isin(groups, groups[has_short])
    if not is_held_out.any():
        raise too_few
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _draw_examples(dataset, fraction, seed, part):
    if not 0 < fraction < 1:
        raise DataError(
            f"The {part} fraction must lie strictly between 0 and 1: it is "
            "the fraction of the training examples to hold out. "
            f"Received: {fraction}."
        )
    labels = dataset.train_labels
    if dataset.task_type is TaskType.MULTI_LABEL:
        return _split_label_sets(dataset, fraction, seed, part)
    counts = _label_counts(dataset)
    needed = _NEEDED[part]
    few = [
        f"`{name:.60}` ({count})"
        for name, count in zip(dataset.classes, counts, strict=True)
        if 0 < count < needed
    ]
    if few:
        named = ", ".join(few[:10]) + ", ..." * (len(few) > 10)
        raise DataError(
            f"{len(few)} of the classes of `{dataset.name}` have too few "
            f"examples for a stratified {part} split: {named}. Expected: at "
            f"least {needed}, so that there is one on each side and one to "
            "train on. Add examples of them, or merge them into another "
            f"class.{_REMEDY[part]}" + _many_classes(counts)
        )
    present = int((counts > 0).sum())
    # Where a class has few examples, one of each is more than the fraction.
    held_out = max(math.ceil(len(labels) * fraction), present)
    if len(labels) - held_out < present * (needed - 1):
        raise DataError(
            f"Holding {held_out} of the {len(labels)} labelled examples of "
            f"`{dataset.name}` out for the {part} split is too few on one "
            f"side: {present * (needed - 1)} must stay, {needed - 1} per "
            "class. "
            f"Received: a fraction of {fraction:g}. Choose a smaller one, or "
            "add examples."
        )
    # Imported here so that a mistyped argument is reported at once.
    from sklearn.model_selection import train_test_split

    kept, held_out_indices = train_test_split(
        np.arange(len(labels)),
        test_size=held_out,
        stratify=labels,
        random_state=seed,
    )
    of_each = np.bincount(labels[held_out_indices], minlength=len(counts))
    least = np.minimum(counts, 1)
    most = counts - least * (needed - 1)
    if (of_each < least).any() or (of_each > most).any():
        # It gives a rare class its share, which may be none.
        shares = proportional_shares(counts, held_out, least, most)
        held_out_indices = _drawn(labels, shares, seed)
        kept = np.setdiff1d(np.arange(len(labels)), held_out_indices)
    return np.sort(kept), np.sort(held_out_indices)


def proportional_shares(counts, total, least, most):
    """Shares `total` out in proportion to `counts`, within bounds.

    Args:
        counts: Int array `(classes,)`.
        total: Int, between the sums of the bounds.
        least: Int array `(classes,)`, what each gets at least.
        most: The same, at most; or one int for all.

    Returns:
        Int array `(classes,)`.
    """
    shares = least.copy()
    wanted = counts * total / counts.sum()
    for _ in range(total - shares.sum()):
        lacking = np.where(shares < most, wanted - shares, -np.inf)
        shares[lacking.argmax()] += 1
    return shares


def _split_label_sets(dataset, fraction, seed, part):
    available = len(dataset.train_texts)
    held_out = math.ceil(available * fraction)
    if held_out >= available:
        raise DataError(
            f"Holding {held_out} of the {available} labelled examples of "
            f"`{dataset.name}` out for the {part} split leaves none to train "
            "on. Choose a smaller fraction, or add examples."
        )
    kept = stratified_subset(
        dataset.train_labels, available - held_out, at_least=1, seed=seed
    )
    return kept, np.setdiff1d(np.arange(available), kept)
