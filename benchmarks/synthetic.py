"""Data that both sides measure with when only its shape matters."""

import numpy as np

# The first ids are special tokens, and 1 is padding.
_FIRST_WORD = 9


def token_windows(vocabulary_size, batch, timesteps, seed=0):
    """Returns int64 ids `(batch, timesteps)`, frequent words as in text."""
    rng = np.random.default_rng(seed)
    # Zipf's law: frequency falls with rank.
    ranks = rng.zipf(1.2, 8 * batch * timesteps)
    ranks = ranks[ranks < vocabulary_size - _FIRST_WORD]
    ids = ranks[: batch * timesteps] + _FIRST_WORD
    return ids.reshape(batch, timesteps)
