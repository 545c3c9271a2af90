"""The n-gram baseline is a distribution, and the one of the paper."""

import math

import numpy as np
import pytest

from benchmarks.kneser_ney import KneserNey

SIZE = 300


@pytest.fixture(scope="module")
def tokens():
    # Zipf-like, so that there are n-grams of every count; 0 never occurs.
    return np.minimum(np.random.default_rng(0).zipf(1.4, 4000), SIZE - 1)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_one(tokens, order):
    model = KneserNey(tokens, SIZE, order)
    # Seen contexts, one with an unseen first word, and an unseen one.
    for context in ([1, 2], [SIZE - 1, 1], [0, 1], [0, 0]):
        contexts = np.tile(context, (SIZE, 1))[:, 3 - order :]
        found = model.probabilities(contexts, np.arange(SIZE))
        assert found.min() > 0
        np.testing.assert_allclose(found.sum(), 1, rtol=1e-12)


def test_a_text_by_hand():
    """Tokens a b a b c over {a, b, c, d}; discounts fall back to .5, 1.

    Bigrams ab 2, ba 1, bc 1; words follow, of 3 bigrams: a 1, b 1, c 1.
    """
    a, b, c, d = range(4)
    model = KneserNey(np.array([a, b, a, b, c]), 4, order=2)
    unigram = (1 - 0.5) / 3 + (3 * 0.5 / 3) / 4
    expected = {
        (a, b): (2 - 1) / 2 + 1 / 2 * unigram,
        (a, c): 1 / 2 * unigram,
        (b, c): (1 - 0.5) / 2 + (2 * 0.5 / 2) * unigram,
        (b, d): (2 * 0.5 / 2) * 0.5 / 4,
        (d, a): unigram,
    }
    contexts = np.array([[context] for context, _ in expected])
    targets = np.array([target for _, target in expected])
    np.testing.assert_allclose(
        model.probabilities(contexts, targets), list(expected.values())
    )
    nats, count = model.nats(np.array([a, b, c]))
    assert count == 2
    assert nats == pytest.approx(
        -math.log(expected[a, b]) - math.log(expected[b, c])
    )


def test_trigrams_as_dictionaries_count_them(tokens):
    """The same definition, written with dictionaries and loops."""
    text = tokens.tolist()
    tables, grams = {}, list(zip(text, text[1:], text[2:], strict=False))
    for length in (3, 2, 1):
        counts = {}
        for gram in grams:
            counts[gram] = counts.get(gram, 0) + 1
        n = [sum(v == k for v in counts.values()) for k in range(5)]
        y = n[1] / (n[1] + 2 * n[2])
        cut = [0] + [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        tables[length] = counts, cut
        grams = [gram[1:] for gram in counts]

    def probability(gram):
        if not gram:
            return 1 / SIZE
        counts, cut = tables[len(gram)]
        lower = probability(gram[1:])
        same = {g: v for g, v in counts.items() if g[:-1] == gram[:-1]}
        if not same:
            return lower
        total = sum(same.values())
        left = sum(cut[min(v, 3)] for v in same.values()) / total
        count = counts.get(gram, 0)
        return (count - cut[min(count, 3)]) / total + left * lower

    model = KneserNey(tokens, SIZE)
    rng = np.random.default_rng(1)
    grams = [
        *map(tuple, rng.integers(0, SIZE, (50, 3))),
        *zip(text[:50], text[1:51], text[2:52], strict=True),
    ]
    array = np.array(grams)
    np.testing.assert_allclose(
        model.probabilities(array[:, :2], array[:, 2]),
        [probability(gram) for gram in grams],
    )


def test_more_order_helps_on_its_own_text(tokens):
    nats = [
        KneserNey(tokens, SIZE, order).nats(tokens)[0] for order in (1, 2, 3)
    ]
    assert nats[0] > nats[1] > nats[2]


def test_too_large_orders_are_refused(tokens):
    with pytest.raises(ValueError, match="below 2"):
        KneserNey(tokens, 1 << 22)
