"""Interpolated modified Kneser-Ney n-gram model, in NumPy."""

import numpy as np

# KenLM's `--discount_fallback`, where a text is too small to estimate them.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


class KneserNey:
    """An n-gram model over token ids (Chen & Goodman, 1999, section 4.1.6).

    The highest order discounts counts of n-grams, the lower ones in how many
    contexts an n-gram occurs; each is interpolated with the next lower one,
    the lowest with the uniform distribution over the vocabulary. Discounts
    are one, two, or three and more occurrences' own, in each order.

    Memory: some 40 bytes a token while counting.

    Args:
        token_ids: Int array `(tokens,)`, the text to learn from.
        vocabulary_size: Int.
        order: Int, tokens of an n-gram.

    Raises:
        ValueError: If n-grams do not fit in 63 bits, or there are fewer than
            `order` tokens.
    """

    def __init__(self, token_ids, vocabulary_size, order=3):
        if vocabulary_size**order >= 1 << 63 or len(token_ids) < order:
            raise ValueError(
                "`order` must be at most the number of tokens, and "
                "`vocabulary_size**order` below 2**63. Received: "
                f"order={order}, vocabulary_size={vocabulary_size}, "
                f"{len(token_ids)} tokens."
            )
        self.vocabulary_size = vocabulary_size
        self.order = order
        self._levels = []
        grams, counts = _count(_pack(token_ids, order, vocabulary_size))
        for length in range(order, 0, -1):
            self._levels.insert(0, _Level(grams, counts, vocabulary_size))
            # Of a shorter n-gram only the contexts are counted.
            grams, counts = _count(grams % vocabulary_size ** (length - 1))

    def probabilities(self, contexts, targets):
        """Returns the probability of each target after its context.

        Args:
            contexts: Int array `(n, order - 1)`, the tokens before.
            targets: Int array `(n,)`.

        Returns:
            Float64 array `(n,)`.
        """
        result = np.full(len(targets), 1 / self.vocabulary_size)
        for length, level in enumerate(self._levels):
            keys = np.zeros(len(targets), "int64")
            for position in range(length):
                tokens = contexts[:, self.order - 1 - length + position]
                keys = keys * self.vocabulary_size + tokens
            result = level.interpolate(keys, targets, result)
        return result

    def nats(self, token_ids, block_size=1 << 20):
        """Sums the negative log-probabilities of a text's tokens.

        The first `order - 1` tokens are only context.

        Returns:
            `(nats, tokens)`: the sum, and how many tokens it is of.
        """
        before = self.order - 1
        windows = np.lib.stride_tricks.sliding_window_view(
            token_ids, self.order
        )
        total = 0.0
        for start in range(0, len(windows), block_size):
            block = windows[start : start + block_size].astype("int64")
            found = self.probabilities(block[:, :before], block[:, before])
            total -= np.log(found).sum()
        return total, len(windows)


class _Level:
    """The n-grams of one length: discounted shares and what is left over."""

    def __init__(self, grams, counts, vocabulary_size):
        self._vocabulary_size = vocabulary_size
        self._grams = grams
        discounts = np.array([0.0, *_discounts(counts)])
        taken = discounts[np.minimum(counts, 3)]
        contexts = grams // vocabulary_size
        starts = np.flatnonzero(np.diff(contexts, prepend=-1))
        self._contexts = contexts[starts]
        totals = np.add.reduceat(counts, starts)
        self._left_over = np.add.reduceat(taken, starts) / totals
        sizes = np.diff(starts, append=len(grams))
        self._shares = (counts - taken) / np.repeat(totals, sizes)

    def interpolate(self, contexts, targets, lower):
        place, known = _find(self._contexts, contexts)
        left_over = np.where(known, self._left_over[place], 1.0)
        grams = contexts * self._vocabulary_size + targets
        place, known = _find(self._grams, grams)
        return np.where(known, self._shares[place], 0.0) + left_over * lower


def _pack(token_ids, order, vocabulary_size):
    """Returns each n-gram as one integer, its last token the lowest digit."""
    count = len(token_ids) - order + 1
    keys = np.zeros(count, "int64")
    for position in range(order):
        keys *= vocabulary_size
        keys += token_ids[position : position + count]
    return keys


def _count(keys):
    """Returns the distinct keys in order, and how often each occurs."""
    keys = np.sort(keys)
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[starts], np.diff(starts, append=len(keys))


def _discounts(counts):
    """Discounts of one, two, and three or more (equation 26)."""
    n1, n2, n3, n4 = (int(np.sum(counts == k)) for k in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if min(found) > 0 else FALLBACK_DISCOUNTS


def _find(keys, wanted):
    """Returns where `wanted` stands in sorted keys, and whether it does."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return place, keys[place] == wanted
