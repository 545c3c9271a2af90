"""Data sets check themselves."""

import numpy as np
import pytest

from ulmfit_tf.data import DataError, TextDataset


def make(**changes):
    arguments = dict(
        name="reviews",
        classes=("neg", "pos"),
        train_texts=["bad", "good", "great"],
        train_labels=[0, 1, 1],
    )
    return TextDataset(**{**arguments, **changes})


def test_labels_become_int32():
    dataset = make(test_texts=["fine"], test_labels=[1])
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int32
    assert dataset.unlabelled_texts == []


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(classes=("pos",), train_labels=[0, 0, 0]), "two different"),
        (dict(classes=("pos", "pos")), "two different"),
        (dict(train_texts=[], train_labels=[]), "no training examples"),
        (dict(train_labels=[0, 1]), "one label per train text"),
        (dict(train_labels=[0, 1, 2]), "between 0 and 1.*from 0 to 2"),
        (dict(train_labels=[-1, 1, 1]), "between 0 and 1.*from -1 to 1"),
        (dict(test_texts=["fine"]), "only one of `test_texts`"),
        (dict(train_texts=["bad", None, "x"]), "train text 1.*NoneType"),
        (dict(unlabelled_texts=[3]), "unlabelled text 0 of type `int`"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_number_labels_sort_as_numbers():
    dataset = TextDataset.from_labels(
        "stars", ["a", "b", "c", "d"], ["10", "9", "-1", "10"]
    )
    assert dataset.classes == ("-1", "9", "10")
    assert dataset.train_labels.tolist() == [2, 1, 0, 2]


def test_named_labels_sort_as_names():
    dataset = TextDataset.from_labels("t", ["a", "b"], ["b", "B"], ["c"], ["b"])
    assert dataset.classes == ("B", "b")
    assert dataset.test_labels.tolist() == [1]


def test_one_class_only():
    with pytest.raises(DataError, match=r"All labels of `t` are.*\['x'\]"):
        TextDataset.from_labels("t", ["a", "b"], ["x", "x"])


def test_a_test_class_without_training_examples():
    with pytest.raises(DataError, match=r"test split.*\['z'\].*lacks"):
        TextDataset.from_labels("t", ["a", "b"], ["x", "y"], ["c"], ["z"])
