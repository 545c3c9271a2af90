"""A sample of text: uniform, bounded, of all the corpus."""

import collections
import tracemalloc

import pytest

from ulmfit_tf.text.sampling import sample_pieces


def numbered(count):
    """Texts of a number each, padded to 200 characters."""
    return (f"{number:<7}{'x' * 193}" for number in range(count))


def test_a_small_corpus_is_kept_whole():
    texts = ["One  two\nthree", "", " \n", "four "]
    assert sample_pieces(texts, 10_000) == ["One  two\nthree", "four "]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("word " * 3000, id="words"),
        pytest.param("字" * 5000, id="no_blank"),
        pytest.param("a " + "b" * 3000 + " c", id="long_word"),
    ],
)
def test_long_texts_are_cut_and_nothing_is_lost(text):
    pieces = sample_pieces([text], 100_000)
    assert max(map(len, pieces)) <= 1024
    assert "".join("".join(pieces).split()) == "".join(text.split())
    if " " in text and "b" not in text:
        assert set(" ".join(pieces).split()) == {"word"}


def test_every_piece_has_the_same_chance():
    taken = collections.Counter()
    for seed in range(200):
        sample = sample_pieces(numbered(40), 2000, seed)
        assert len(sample) == 10
        taken.update(int(piece.split("x")[0]) for piece in sample)
    # Binomial with n = 200 and p = 0.25: mean 50, deviation 6.1.
    assert set(taken) == set(range(40))
    assert min(taken.values()) > 25 and max(taken.values()) < 75


def test_memory_does_not_grow_with_the_corpus():
    peaks = []
    for count in (1000, 20_000):
        tracemalloc.start()
        sample = sample_pieces(numbered(count), 20_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(map(len, sample)) <= 20_000
    assert peaks[1] < 1.2 * peaks[0]
