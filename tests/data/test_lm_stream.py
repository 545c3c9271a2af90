"""Streams are contiguous, cover the text once an epoch, and can be resumed."""

import itertools

import numpy as np
import pytest

from ulmfit_tf.data.lm_stream import LanguageModelStream, window_lengths
from ulmfit_tf.data.token_cache import TokenizedCorpus

BATCH = 3


@pytest.fixture(scope="module")
def corpus():
    """Every token is unique, so that its place in the text is known."""
    lengths = np.random.default_rng(0).integers(0, 60, 40)
    tokens = np.arange(10, 10 + lengths.sum())
    return TokenizedCorpus.from_documents(
        np.split(tokens, np.cumsum(lengths)[:-1])
    )


def epoch_of(stream, epoch):
    """The windows of one epoch."""
    steps = stream.steps_per_epoch
    return list(
        itertools.islice(stream.windows(epoch * steps), stream.steps_per_epoch)
    )


def rows_of(windows):
    inputs = np.concatenate([each["token_ids"] for each, _ in windows], 1)
    targets = np.concatenate([targets for _, targets in windows], 1)
    return inputs, targets


@pytest.mark.parametrize("total", [1, 4, 5, 7, 30, 69, 103, 500, 4567])
def test_lengths_add_up_and_none_is_too_short(total):
    for seed in range(5):
        lengths = window_lengths(total, np.random.default_rng(seed))
        assert lengths.sum() == total
        assert lengths.min() >= min(total, 5)
        # The number of windows depends on the total alone.
        assert len(lengths) == max(1, round(total / 68.25))


def test_lengths_are_spread_as_those_of_awd_lstm():
    lengths = window_lengths(68 * 20_000, np.random.default_rng(1))
    long = lengths[lengths > 52]
    short = lengths[lengths <= 52]
    assert 0.94 < len(long) / len(lengths) < 0.96
    assert abs(long.mean() - 70) < 1
    assert abs(short.mean() - 35) < 1.5
    assert 4.8 < long.std() < 5.3
    assert 4.5 < short.std() < 5.6


@pytest.mark.parametrize("seed", [None, 3])
def test_each_window_begins_where_the_last_one_ended(corpus, seed):
    stream = LanguageModelStream(corpus, BATCH, seed=seed)
    windows = epoch_of(stream, 0)
    inputs, targets = rows_of(windows)
    # A target is the token after: so inputs are the targets, one on.
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
    # And row r + 1 begins where row r ended.
    np.testing.assert_array_equal(inputs[1:, 0], targets[:-1, -1])
    starts = [each["stream_start"].tolist() for each, _ in windows]
    assert starts == [[1] * BATCH] + [[0] * BATCH] * (len(windows) - 1)
    for each, window_targets in windows:
        assert each["token_ids"].shape == window_targets.shape
        assert each["token_ids"].dtype == window_targets.dtype == np.int32


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("seed", [None, 3])
def test_an_epoch_covers_the_text_once(corpus, seed, backward):
    stream = LanguageModelStream(corpus, BATCH, backward, seed)
    inputs, targets = rows_of(epoch_of(stream, 1))
    read = np.append(inputs.ravel(), targets[-1, -1])
    assert len(np.unique(read)) == len(read)
    # At most a token a row and the last one's target is left over.
    assert len(corpus.token_ids) - len(read) < BATCH
    # Each document is read whole, in its direction.
    step = -1 if backward else 1
    place = {token: index for index, token in enumerate(read)}
    for document in corpus:
        if place.keys() >= set(document):
            order = [place[token] for token in document]
            assert (np.diff(order) == step).all()


def test_evaluation_reads_in_order_by_seventy(corpus):
    stream = LanguageModelStream(corpus, BATCH)
    windows = epoch_of(stream, 0)
    inputs, _ = rows_of(windows)
    lengths = [each["token_ids"].shape[1] for each, _ in windows]
    assert set(lengths[:-1]) == {70} and 0 < lengths[-1] <= 70
    np.testing.assert_array_equal(
        inputs.ravel(), corpus.token_ids[: inputs.size]
    )


def test_backward_reverses_each_document(corpus):
    inputs, _ = rows_of(epoch_of(LanguageModelStream(corpus, 1, True), 0))
    backward = np.concatenate([document[::-1] for document in corpus])
    np.testing.assert_array_equal(inputs[0], backward[:-1])


def test_every_epoch_has_an_order_and_lengths_of_its_own(corpus):
    stream = LanguageModelStream(corpus, BATCH, seed=3)
    first, second = (epoch_of(stream, epoch) for epoch in (0, 1))
    assert len(first) == len(second) == stream.steps_per_epoch
    assert np.any(rows_of(first)[0] != rows_of(second)[0])
    lengths = [[y.shape[1] for _, y in each] for each in (first, second)]
    assert lengths[0] != lengths[1]
    other = LanguageModelStream(corpus, BATCH, seed=4)
    assert np.any(rows_of(epoch_of(other, 0))[0] != rows_of(first)[0])


def test_a_resumed_stream_equals_the_uninterrupted_one(corpus):
    stream = LanguageModelStream(corpus, BATCH, seed=3)
    steps = 2 * stream.steps_per_epoch + 3
    whole = list(itertools.islice(stream.windows(), steps))
    for first in range(steps):
        again = LanguageModelStream(corpus, BATCH, seed=3)
        inputs, targets = next(again.windows(first))
        for name, array in whole[first][0].items():
            np.testing.assert_array_equal(inputs[name], array)
        np.testing.assert_array_equal(targets, whole[first][1])


def test_ids_of_two_bytes_give_the_same_windows(corpus):
    few = TokenizedCorpus(corpus.token_ids.astype("uint16"), corpus.offsets)
    for (inputs, targets), (same_inputs, same_targets) in zip(
        epoch_of(LanguageModelStream(few, BATCH, seed=3), 1),
        epoch_of(LanguageModelStream(corpus, BATCH, seed=3), 1),
        strict=True,
    ):
        assert inputs["token_ids"].dtype == targets.dtype == np.int32
        np.testing.assert_array_equal(
            inputs["token_ids"], same_inputs["token_ids"]
        )
        np.testing.assert_array_equal(targets, same_targets)


def test_the_dataset_holds_the_windows(corpus):
    stream = LanguageModelStream(corpus, BATCH, seed=3)
    first = stream.steps_per_epoch - 2
    pairs = zip(
        stream.dataset(first).take(4).as_numpy_iterator(),
        stream.windows(first),
        strict=False,
    )
    for (inputs, targets), (expected, expected_targets) in pairs:
        assert inputs.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(inputs[name], array)
        np.testing.assert_array_equal(targets, expected_targets)


def test_equal_windows_are_of_two_lengths_and_cover_the_text(corpus):
    stream = LanguageModelStream(corpus, BATCH, seed=3, equal_windows=True)
    windows = epoch_of(stream, 1)
    lengths = [targets.shape[1] for _, targets in windows]
    assert lengths[:-1] == [70] * (len(lengths) - 1)
    assert 1 <= lengths[-1] <= 70
    inputs, _ = rows_of(windows)
    assert inputs.shape == (BATCH, stream.row_length)
    # In an order of its own, unlike evaluation.
    others, _ = rows_of(epoch_of(stream, 0))
    assert not np.array_equal(inputs, others)


def test_a_corpus_must_fill_every_row():
    corpus = TokenizedCorpus.from_documents([np.array([5, 6, 7])])
    with pytest.raises(ValueError, match="3 tokens for batch_size=3"):
        LanguageModelStream(corpus, 3)
    stream = LanguageModelStream(corpus, 2, seed=0)
    inputs, targets = next(stream.windows())
    assert inputs["token_ids"].tolist() == [[5], [6]]
    assert targets.tolist() == [[6], [7]]
