"""What a learning curve is measured on is not read before."""

import dataclasses
import itertools

import numpy as np
import pytest

from trainers.experiments.label_subsets import LabelSubsets
from ulmfit_tf.data import TextDataset, repeated_texts


def _dump(copies=0):
    """Labelled texts, the first several times, and a file of all texts."""
    different = [f"text {number}" for number in range(200)]
    texts = [*different, *different[:copies]]
    labels = np.array([len(text) + int(text[-1]) for text in texts]) % 2
    unlabelled = [*(f" {text}\n" for text in different), "other 1", "other 2"]
    return TextDataset(
        "dump", ("a", "b"), texts, labels, unlabelled_texts=unlabelled
    )


def test_validation_texts_among_the_unlabelled_ones_are_left_out(caplog):
    dataset = _dump()
    subsets = LabelSubsets(dataset, 0.1, 50, None)
    validation = subsets.validation_texts
    assert len(validation) == 20
    semi_supervised = subsets.labelled(20, seed=0)
    assert not repeated_texts(validation, semi_supervised.unlabelled_texts)
    # Nothing else is: the others of the file, and texts that lost their label.
    assert len(subsets.pool.unlabelled_texts) == 202 - 20
    assert len(semi_supervised.unlabelled_texts) == 182 + 160
    (note,) = subsets.pool.notes
    assert note == (
        "20 unlabelled texts of `dump` are left out, as they are validation "
        "texts."
    )
    assert note in caplog.text
    clean = dataclasses.replace(dataset, unlabelled_texts=["other 1"])
    assert not LabelSubsets(clean, 0.1, 50, None).pool.notes


@pytest.mark.parametrize("limit", [None, 0, 10])
def test_copies_of_validation_texts_are_not_read_without_label(limit):
    # Few enough for a split to leave one on the other side.
    dataset = dataclasses.replace(_dump(copies=4), unlabelled_texts=["other"])
    subsets = LabelSubsets(dataset, 0.1, 150, limit)
    pool, validation = subsets.pool, subsets.validation_texts
    assert repeated_texts(pool.train_texts, validation) == 1
    # Drawn, and so at times with a label, at times without.
    for size, seed in itertools.product((20, 150), range(8)):
        part = subsets.labelled(size, seed)
        assert len(part.train_texts) == size
        unlabelled = part.unlabelled_texts
        assert not repeated_texts(validation, unlabelled)
        if limit is None:
            # Every other text is read.
            read = {*part.train_texts, *unlabelled, *validation}
            assert read == {*dataset.train_texts, "other"}
