"""Counting tokens, and the vocabulary that comes of it."""

import collections

import numpy as np
import pytest

from ulmfit_tf.text import (
    SPECIAL_TOKENS,
    Vocabulary,
    WordTokenizer,
    count_tokens,
    split_words,
)

TEXTS = ["The cat sat.", "the CAT, the dog", "", "naïve naïve 👍"] * 3


def by_hand(texts, **arguments):
    rows = split_words(texts, **arguments).to_list()
    return collections.Counter(t.decode() for row in rows for t in row)


@pytest.mark.parametrize("batch_size", [5, 100])
def test_counts_whatever_the_batch(batch_size):
    counts = count_tokens(split_words, iter(TEXTS), batch_size=batch_size)
    assert counts == by_hand(TEXTS)
    assert counts["the"] == 9 and counts["xxbos"] == 12


def test_a_tokenizer_counts_its_own_tokens():
    vocabulary = Vocabulary(SPECIAL_TOKENS)
    tokenizer = WordTokenizer(vocabulary, lowercase=False)
    counts = count_tokens(tokenizer, TEXTS)
    assert counts == by_hand(TEXTS, lowercase=False)
    assert counts["CAT"] == 3


def test_vocabulary_of_a_corpus():
    vocabulary = Vocabulary.build(count_tokens(split_words, TEXTS))
    assert vocabulary.tokens[9:11] == ("the", "cat")
    assert len(vocabulary) % 8 == 0


def test_of_too_many_tokens_the_rarest_are_forgotten():
    rng = np.random.default_rng(0)
    # Each text has a word of its own beside those that return.
    texts = [
        f"once{number} "
        + " ".join(f"word{n}" for n in rng.integers(20, size=9))
        for number in range(300)
    ]
    exact = count_tokens(split_words, texts, batch_size=10)
    counts = count_tokens(split_words, texts, batch_size=10, most_tokens=60)
    assert len(exact) > 300 and len(counts) <= 60
    for number in range(20):
        assert counts[f"word{number}"] == exact[f"word{number}"]
    assert counts.items() <= exact.items()


def test_no_text_no_tokens():
    assert count_tokens(split_words, []) == {}


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size=0"):
        count_tokens(split_words, TEXTS, batch_size=0)
