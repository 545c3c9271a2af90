"""The layout of documents in chunks, and batches of like length."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.data.chunks import (
    DocumentBatches,
    chunk_documents,
    documents_in_length_order,
)
from ulmfit_tf.data.token_cache import TokenizedCorpus

PADDING = 1


def reference_layout(documents, chunk):
    """The layout as the docstring tells it, one document at a time."""
    longest = max([len(d) for d in documents] + [1])
    chunks = -(-longest // chunk)
    rows = np.full((len(documents), chunks, chunk), PADDING)
    for row, document in zip(rows, documents, strict=True):
        pieces, end = [], len(document)
        while end > 0:
            pieces.insert(0, document[max(0, end - chunk) : end])
            end -= chunk
        slots = row[chunks - len(pieces) :]
        for slot, piece in zip(slots, pieces, strict=True):
            slot[: len(piece)] = piece
    first = longest - chunk * (chunks - 1)
    assert (rows[:, 0, first:] == PADDING).all()
    return np.concatenate(
        [rows[:, 0, :first], rows[:, 1:].reshape(len(documents), -1)], axis=1
    )


def ragged(documents):
    return tf.RaggedTensor.from_row_lengths(
        np.concatenate([np.zeros(0, "int32"), *documents]).astype("int32"),
        [len(document) for document in documents],
    )


def make_documents(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 1000, length) for length in lengths]


@pytest.fixture(scope="module")
def lay_out():
    """Traced once, as in a data set."""
    traced = tf.function(
        chunk_documents,
        input_signature=[
            tf.RaggedTensorSpec((None, None), tf.int32),
            tf.TensorSpec((), tf.int32),
        ],
    )
    return lambda documents, chunk: traced(
        ragged(documents), tf.constant(chunk)
    ).numpy()


@pytest.mark.parametrize("seed", range(40))
def test_layout_equals_the_reference(lay_out, seed):
    rng = np.random.default_rng(seed)
    chunk = int(rng.choice([3, 8, 20, 70]))
    longest = rng.choice([chunk, 2 * chunk, 3 * chunk])
    lengths = rng.integers(seed % 2, longest + 1, rng.integers(1, 9))
    documents = make_documents(lengths, seed)
    actual = lay_out(documents, chunk)
    np.testing.assert_array_equal(actual, reference_layout(documents, chunk))
    assert actual.dtype == np.int32


@pytest.mark.parametrize(
    "lengths, chunk, expected",
    [
        pytest.param(
            (5, 2, 4),
            4,
            ["abcde", ".ab..", ".abcd"],
            id="chunks",
        ),
        pytest.param(
            (11, 6, 10),
            4,
            ["abcdefghijk", "...ab..cdef", "ab.cdefghij"],
            id="first_slot_of_three",
        ),
        pytest.param((3, 2), 20, ["abc", "ab."], id="narrow"),
        pytest.param((9, 1), 20, ["abcdefghi", "a........"], id="w"),
        pytest.param((3, 3), 3, ["abc", "abc"], id="one_chunk"),
    ],
)
def test_layout_by_example(lay_out, lengths, chunk, expected):
    documents = [np.arange(97, 97 + length) for length in lengths]
    rows = lay_out(documents, chunk)
    text = ["".join("." if i == 1 else chr(i) for i in row) for row in rows]
    assert text == expected


def test_no_tokens_still_give_a_timestep(lay_out):
    rows = lay_out(make_documents((0, 0)), 70)
    assert rows.shape[0] == 2 and rows.shape[1] >= 1
    assert (rows == PADDING).all()


NUM_DOCUMENTS, CLASSES = 47, 4


@pytest.fixture(scope="module")
def corpus():
    """Document `i` is `100 + i` over and over, so that rows can be told."""
    lengths = np.random.default_rng(0).integers(1, 30, NUM_DOCUMENTS)
    return TokenizedCorpus.from_documents(
        [np.full(n, 100 + i) for i, n in enumerate(lengths)]
    )


@pytest.fixture(scope="module")
def labels():
    """Unlike in every document."""
    return np.arange(NUM_DOCUMENTS * CLASSES).reshape(-1, CLASSES) / 10.0


def make_batches(corpus, labels, batch_size=6, **kwargs):
    return DocumentBatches(corpus, labels, batch_size, chunk_length=8, **kwargs)


def elements(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def indices(token_ids):
    return token_ids.max(1) - 100


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_each_document_comes_once_an_epoch(corpus, labels, num_replicas):
    batches = make_batches(corpus, labels, num_replicas=num_replicas)
    epoch = elements(batches.dataset(), batches.steps_per_epoch)
    found = np.concatenate([indices(ids) for ids, _, _ in epoch])
    assert len(np.unique(found)) == len(found)
    assert len(found) == NUM_DOCUMENTS // num_replicas * num_replicas
    sizes = np.array([len(ids) for ids, _, _ in epoch])
    assert (sizes % num_replicas == 0).all()
    assert sizes.max() <= 6
    assert np.ptp(sizes) <= num_replicas


def test_labels_weights_and_tokens_belong_together(corpus, labels):
    weights = np.linspace(0.1, 5, NUM_DOCUMENTS)
    batches = make_batches(corpus, labels, document_weights=weights)
    for ids, batch_labels, batch_weights in elements(batches.dataset(), 16):
        which = indices(ids)
        np.testing.assert_allclose(batch_labels, labels[which], rtol=1e-6)
        np.testing.assert_allclose(batch_weights, weights[which], rtol=1e-6)
        lengths = (ids != PADDING).sum(1)
        np.testing.assert_array_equal(lengths, corpus.lengths[which])
    ones = elements(make_batches(corpus, labels).dataset(), 1)[0][2]
    np.testing.assert_array_equal(ones, np.ones(len(ones)))


def test_documents_of_a_batch_are_of_like_length(corpus, labels):
    batches = make_batches(corpus, labels)
    epoch = elements(batches.dataset(), batches.steps_per_epoch)
    lengths = [corpus.lengths[indices(ids)] for ids, _, _ in epoch]
    # All are in one pool: sorted, the batches' ranges do not overlap.
    ranges = sorted((each.min(), each.max()) for each in lengths)
    for (_, highest), (lowest, _) in itertools.pairwise(ranges):
        assert highest <= lowest
    # But the batches themselves come in any order.
    longest = [each.max() for each in lengths]
    assert longest != sorted(longest) != longest[::-1]


def test_pools_are_sorted_by_themselves(corpus, labels, monkeypatch):
    """Or each epoch would have the same documents together."""

    def mean_range():
        batches = make_batches(corpus, labels)
        epoch = elements(batches.dataset(), batches.steps_per_epoch)
        lengths = [corpus.lengths[indices(ids)] for ids, _, _ in epoch]
        return np.mean([each.max() - each.min() for each in lengths])

    sorted_all = mean_range()
    monkeypatch.setattr(DocumentBatches, "POOL", 1)
    assert mean_range() > 3 * sorted_all


def test_batches_are_determined_by_seed_and_step(corpus, labels):
    batches = make_batches(corpus, labels, seed=5)
    steps = batches.steps_per_epoch
    whole = elements(batches.dataset(), 2 * steps + 2)
    for first in (0, 3, steps - 1, steps, steps + 2, 2 * steps):
        again = make_batches(corpus, labels, seed=5).dataset(first)
        for one, other in zip(
            elements(again, 2), whole[first : first + 2], strict=True
        ):
            for array, expected in zip(one, other, strict=True):
                np.testing.assert_array_equal(array, expected)

    def order(part):
        return [indices(ids).tolist() for ids, _, _ in part]

    assert order(whole[:steps]) != order(whole[steps : 2 * steps])
    other = make_batches(corpus, labels, seed=6)
    assert order(elements(other.dataset(), steps)) != order(whole[:steps])


def test_backward_documents_are_reversed_before_they_are_laid_out():
    documents = make_documents((5, 12, 3))
    labels = np.eye(3)
    both = [
        DocumentBatches(
            TokenizedCorpus.from_documents(each), labels, 3, backward, 4
        )
        for each, backward in (
            (documents, True),
            ([document[::-1] for document in documents], False),
        )
    ]
    one, other = (elements(each.dataset(), 1)[0] for each in both)
    np.testing.assert_array_equal(one[0], other[0])
    ordered = documents_in_length_order(
        TokenizedCorpus.from_documents(documents), labels, 3, True, 4
    )
    expected = [documents[index][::-1] for index in (1, 0, 2)]
    np.testing.assert_array_equal(
        elements(ordered, 1)[0][0], reference_layout(expected, 4)
    )


def test_every_replica_needs_a_document(corpus, labels):
    with pytest.raises(ValueError, match="2 documents for 3 replicas"):
        DocumentBatches(corpus.select([0, 1]), labels[:2], 6, num_replicas=3)


@pytest.mark.parametrize(
    "count, batch_size, num_replicas, sizes",
    [
        (47, 10, 1, [10, 10, 10, 10, 7]),
        (47, 10, 4, [8, 8, 8, 8, 8, 7]),
        (3, 10, 2, [2, 1]),
        (3, 10, 1, [3]),
    ],
)
def test_evaluation_reads_each_document_once_the_longest_first(
    corpus, labels, count, batch_size, num_replicas, sizes
):
    dataset = documents_in_length_order(
        corpus.select(range(count)),
        labels[:count],
        batch_size,
        chunk_length=8,
        num_replicas=num_replicas,
    )
    found = elements(dataset, -1)
    assert [len(ids) for ids, _ in found] == sizes
    which = np.concatenate([indices(ids) for ids, _ in found])
    assert sorted(which) == list(range(count))
    assert (np.diff(corpus.lengths[which]) <= 0).all()
    np.testing.assert_allclose(
        np.concatenate([each for _, each in found]), labels[which], rtol=1e-6
    )
