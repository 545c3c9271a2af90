"""Splits are stratified, seeded, and lose no text."""

import dataclasses
import string
import tracemalloc

import numpy as np
import pytest

from ulmfit_tf.data import DataError, TextDataset, limit_labels
from ulmfit_tf.data.splits import (
    hold_out_test,
    repeated_texts,
    split_validation,
)

COUNTS = (60, 30, 9, 1)  # All different, one class very rare.


def make(counts=COUNTS, **changes):
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(5).permutation(labels)
    return TextDataset(
        name="skewed",
        classes=tuple(string.ascii_letters[: len(counts)]),
        train_texts=[
            f"{string.ascii_letters[c]} {i}" for i, c in enumerate(labels)
        ],
        train_labels=labels,
        unlabelled_texts=["u"],
        **changes,
    )


def counts_of(labels):
    return np.bincount(labels, minlength=4).tolist()


def check_labels_belong_to_texts(texts, labels):
    assert [text[0] for text in texts] == ["abcd"[label] for label in labels]


def test_validation_split_is_stratified_and_complete():
    dataset = make(counts=(60, 30, 10))
    train, texts, labels = dataset.split_validation(fraction=0.1, seed=3)
    assert counts_of(labels) == [6, 3, 1, 0]
    assert counts_of(train.train_labels) == [54, 27, 9, 0]
    assert sorted(train.train_texts + texts) == sorted(dataset.train_texts)
    assert train.unlabelled_texts == ["u"]
    check_labels_belong_to_texts(texts, labels)
    check_labels_belong_to_texts(train.train_texts, train.train_labels)


def test_same_seed_same_split():
    dataset = make(counts=(60, 30, 10))
    assert (
        split_validation(dataset, 0.2, seed=1)[1]
        == split_validation(dataset, 0.2, seed=1)[1]
        != split_validation(dataset, 0.2, seed=2)[1]
    )


def test_held_out_test_split_is_noted():
    dataset = hold_out_test(make(counts=(60, 30, 10)), 0.1, seed=0)
    assert counts_of(dataset.test_labels) == [6, 3, 1, 0]
    assert len(dataset.train_texts) == 90
    assert "10 of its 100 labelled examples" in dataset.notes[0]


@pytest.mark.parametrize(
    "counts, fraction, message",
    [
        (
            COUNTS,
            0.1,
            r"1 of the classes.*too few.*`d` \(1\).*least 2.*class.$",
        ),
        ((2, 1, 1), 0.1, "too few.*3 classes in 4 examples: .*label column"),
        ((10, 5, 3), 0.95, "Holding 18 of the 18"),
        ((10, 5, 3), 0.0, "strictly between 0 and 1"),
        ((10, 5, 3), 1.0, "strictly between 0 and 1"),
    ],
)
def test_impossible_splits(counts, fraction, message):
    with pytest.raises(DataError, match=message):
        make(counts=counts).split_validation(fraction, seed=0)


@pytest.mark.parametrize(
    "num_labels, kept",
    [
        (7, [2, 2, 2, 1]),
        (8, [3, 2, 2, 1]),
        (10, [5, 2, 2, 1]),
        (50, [30, 15, 4, 1]),
        (99, [59, 30, 9, 1]),
        (100, list(COUNTS)),
    ],
)
def test_limited_labels_keep_every_class_and_every_text(num_labels, kept):
    dataset = make()
    limited = dataset.limit_labels(num_labels, seed=4)
    assert counts_of(limited.train_labels) == kept
    check_labels_belong_to_texts(limited.train_texts, limited.train_labels)
    assert limited.unlabelled_texts[0] == "u"
    assert sorted(limited.train_texts + limited.unlabelled_texts[1:]) == sorted(
        dataset.train_texts
    )


def test_limited_labels_are_seeded():
    dataset = make()
    assert (
        limit_labels(dataset, 10, seed=1).train_texts
        == limit_labels(dataset, 10, seed=1).train_texts
        != limit_labels(dataset, 10, seed=2).train_texts
    )


def test_few_examples_hold_out_one_of_each_class():
    # A tenth of 18 would be 2, too few for three classes.
    _, texts, labels = make(counts=(10, 5, 3)).split_validation(0.1, seed=0)
    assert len(texts) == 3 and sorted(labels) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "counts",
    [(3, 3, 3, 100, 191), (3,) * 10 + (4,) * 10 + (10,) * 10 + (13,) * 10],
)
def test_no_class_is_left_out_of_a_split(counts, seed):
    """A share of a few examples may be none."""
    dataset = hold_out_test(make(counts=counts), 0.1, seed)
    kept, texts, labels = dataset.split_validation(0.1, seed)
    of_parts = [
        np.bincount(each, minlength=len(counts))
        for each in (dataset.test_labels, labels, kept.train_labels)
    ]
    assert all((each >= 1).all() for each in of_parts)
    assert sum(map(sum, of_parts)) == sum(counts)
    # And the common ones have their share, as far as the rare ones leave it.
    assert of_parts[0][-1] >= of_parts[0][0]


def test_all_classes_that_are_too_rare_are_named_at_once():
    with pytest.raises(DataError, match=r"2 of the classes.*`b` \(1\), `c`"):
        make(counts=(50, 1, 1)).split_validation(0.1, seed=0)


def test_where_many_texts_are_there_twice_copies_go_along():
    dataset = with_copies((30, 20), 2)
    kept, texts, labels = dataset.split_validation(0.1, seed=0)
    assert not set(texts) & set(kept.train_texts)
    assert len(texts) + len(kept.train_texts) == 100
    # A few are let be, as the splits that figures were published for are.
    few = make(counts=(300, 200))
    few = dataclasses.replace(
        few, train_texts=[*few.train_texts[:-5], *few.train_texts[:5]]
    )
    expected = make(counts=(300, 200)).split_validation(0.1, seed=0)
    assert len(few.split_validation(0.1, seed=0)[1]) == len(expected[1])


def test_a_test_split_leaves_enough_to_validate_on():
    with pytest.raises(DataError, match=r"`c` \(2\).*at least 3"):
        hold_out_test(make(counts=(50, 20, 2)), 0.1, seed=0)


@pytest.mark.parametrize("num_labels", [3, 6, 0, -1])
def test_a_limit_too_small_for_two_examples_of_each_class(num_labels):
    with pytest.raises(
        DataError, match=f"{num_labels} labels of.*too few.*7 are enough"
    ):
        make().limit_labels(num_labels, seed=0)


def test_a_limit_above_all_examples():
    with pytest.raises(DataError, match="100 training examples.* 101"):
        make().limit_labels(101, seed=0)


def with_copies(counts, copies):
    """A data set in which each text is there several times."""
    dataset = make(counts)
    return dataclasses.replace(
        dataset,
        train_texts=dataset.train_texts * copies,
        train_labels=np.tile(dataset.train_labels, copies),
    )


def test_copies_of_a_held_out_text_go_along():
    dataset = hold_out_test(with_copies((40, 20, 10), 2), 0.1, seed=0)
    train, test = set(dataset.train_texts), set(dataset.test_texts)
    assert not train & test
    assert len(dataset.train_texts) == 2 * len(train)
    assert len(dataset.test_texts) == 2 * len(test)
    check_labels_belong_to_texts(dataset.test_texts, dataset.test_labels)
    assert len(dataset.train_texts) + len(dataset.test_texts) == 140


def test_one_long_text_does_not_make_all_of_them_long():
    dataset = with_copies((400, 400), 2)
    dataset.train_texts[0] += " and so on" * 10_000
    tracemalloc.start()
    try:
        hold_out_test(dataset, 0.1, seed=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # As one array they would take 640 MB.
    assert peak < 20e6


def test_a_class_of_one_text_is_trained_on_and_nothing_is_on_both_sides():
    texts = with_copies((40, 20, 1), 4)
    dataset = hold_out_test(texts, 0.1, seed=0)
    train, validation_texts, _ = dataset.split_validation(0.1, seed=0)
    parts = [train.train_texts, validation_texts, dataset.test_texts]
    assert [sum(text[0] == "c" for text in part) for part in parts] == [4, 0, 0]
    assert not repeated_texts(dataset.test_texts, dataset.train_texts)
    assert not repeated_texts(validation_texts, train.train_texts)
    assert "None of them has one of these classes: `c`" in dataset.notes[0]


def of_groups(groups):
    """A data set of `(class, copies)` for each different text."""
    rows = [
        (f"{'abcd'[label]} {i}", label)
        for i, (label, copies) in enumerate(groups)
        for _ in range(copies)
    ]
    order = np.random.default_rng(1).permutation(len(rows))
    return TextDataset(
        name="copies",
        classes=tuple("abcd"[: 1 + max(label for label, _ in groups)]),
        train_texts=[rows[i][0] for i in order],
        train_labels=np.array([rows[i][1] for i in order]),
    )


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param([(0, 1)] * 1000 + [(1, 10)] * 100, id="oversampled"),
        pytest.param([(0, 1)] * 1000 + [(1, 20)] * 50, id="more_so"),
        pytest.param([(0, 20)] * 60 + [(1, 20)] * 40, id="all_alike"),
        pytest.param([(0, 50)] * 25 + [(1, 50)] * 25, id="few_texts"),
        pytest.param(
            [(i % 2, 1 + 2000 // (i + 5)) for i in range(1500)], id="zipf"
        ),
        pytest.param(
            [(i % 2, 1) for i in range(4300)]
            + [(i % 2, 10) for i in range(40)]
            + [(i % 2, 60) for i in range(5)],
            id="some_frequent",
        ),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_fraction_is_kept_whatever_the_copies(groups, seed):
    dataset = of_groups(groups)
    rows = len(dataset.train_texts)
    held_out = hold_out_test(dataset, 0.1, seed)
    train, texts, labels = held_out.split_validation(0.1, seed)
    assert 0.07 * rows < len(held_out.test_texts) < 0.14 * rows
    assert 0.06 * rows < len(texts) < 0.13 * rows
    whole = np.bincount(dataset.train_labels) / rows
    for part in (held_out.test_labels, labels, train.train_labels):
        shares = np.bincount(part, minlength=2) / len(part)
        np.testing.assert_allclose(shares, whole, atol=0.2)
    parts = [set(held_out.test_texts), set(texts), set(train.train_texts)]
    assert sum(map(len, parts)) == len(groups) == len(set.union(*parts))
    assert sum(map(len, (held_out.test_texts, texts, train.train_texts))) == (
        rows
    )


def test_a_text_that_is_most_of_the_data_is_trained_on():
    dataset = of_groups([(0, 900)] + [(i % 2, 1) for i in range(100)])
    for seed in range(20):
        held_out = hold_out_test(dataset, 0.1, seed)
        assert "a 0" not in held_out.test_texts
        assert len(held_out.test_texts) >= 2


def test_copies_with_other_labels_take_no_class_away():
    # All texts of the rare class are texts of a common one as well.
    dataset = of_groups([(i % 2, 4) for i in range(200)])
    labels = dataset.train_labels.copy()
    for text in ("a 0", "a 2", "a 4"):
        labels[dataset.train_texts.index(text)] = 2
    dataset = dataclasses.replace(
        dataset, classes=("a", "b", "c"), train_labels=labels
    )
    for seed in range(10):
        held_out = hold_out_test(dataset, 0.1, seed)
        assert not repeated_texts(held_out.test_texts, held_out.train_texts)
        assert (held_out.train_labels == 2).sum() >= 2


def test_too_few_different_texts_are_refused():
    dataset = of_groups([(0, 50), (0, 50), (1, 50), (1, 50)])
    with pytest.raises(DataError, match="has 4 different texts.*fraction 0"):
        hold_out_test(dataset, 0.1, seed=0)
