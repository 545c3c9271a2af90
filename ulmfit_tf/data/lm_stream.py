"""Contiguous streams of text for training a language model."""

import numpy as np

# Merity et al. (2017), section 5, and the authors' scripts: a base of 70
# tokens with probability 0.95, else half of it; normal noise of 5 tokens; at
# least 5.
BASE_LENGTH = 70
BASE_PROBABILITY = 0.95
LENGTH_DEVIATION = 5
MINIMUM_LENGTH = 5


def window_lengths(total, rng):
    """Draws lengths of variable-length BPTT windows that add up to `total`.

    The number of windows depends on `total` alone, so that epochs have equal
    numbers of steps: the draws are nudged by single tokens until they fit.

    Args:
        total: Int, tokens to cover.
        rng: `numpy.random.Generator`.

    Returns:
        Int array of lengths, each at least `min(total, MINIMUM_LENGTH)`.
    """
    mean = BASE_LENGTH * (1 + BASE_PROBABILITY) / 2
    count = max(1, round(total / mean))
    base = np.where(
        rng.random(count) < BASE_PROBABILITY, BASE_LENGTH, BASE_LENGTH // 2
    )
    lengths = rng.normal(base, LENGTH_DEVIATION).astype("int64")
    lengths = np.maximum(lengths, MINIMUM_LENGTH)
    while (missing := total - lengths.sum()) != 0:
        if missing > 0:
            chosen = rng.integers(count, size=missing)
            lengths += np.bincount(chosen, minlength=count)
            continue
        reducible = np.flatnonzero(lengths > MINIMUM_LENGTH)
        if not len(reducible):
            return np.array([total])
        size = min(-missing, len(reducible))
        lengths[rng.choice(reducible, size, replace=False)] -= 1
    return lengths


def rows_for(num_tokens, batch_size):
    """Returns how many streams to read in parallel, at most `batch_size`.

    A short text is read in fewer streams, so that each is at least ten
    windows long: a batch of all the text at once leaves few steps to learn
    in, and one of more rows than tokens none.

    Args:
        num_tokens: Int, tokens of the text.
        batch_size: Int, streams wanted.

    Returns:
        Int, at least 1.
    """
    return max(1, min(batch_size, num_tokens // (10 * BASE_LENGTH)))


class LanguageModelStream:
    """Windows over documents laid end to end, one stream a batch row.

    In each epoch the documents are shuffled and concatenated, and the result
    is cut in `batch_size` streams of equal length. Window `k + 1` of a row
    begins where window `k` ended. Under a distribution strategy each replica
    gets the same rows of every batch, and so streams of its own.

    Everything is determined by `seed` and the step, so that a stream can be
    resumed anywhere.

    Args:
        corpus: `TokenizedCorpus`.
        batch_size: Int, rows of a batch over all replicas.
        backward: Bool, whether each document is read from its end.
        seed: Int. `None` keeps documents in order and windows at 70 tokens,
            for evaluation.
        equal_windows: Bool, whether windows have 70 tokens with a seed too.
            A backend that compiles a step for each shape then compiles two.

    Raises:
        ValueError: If the corpus has fewer than two tokens a row.
    """

    def __init__(
        self,
        corpus,
        batch_size,
        backward=False,
        seed=None,
        equal_windows=False,
    ):
        self.corpus = corpus
        self.batch_size = batch_size
        self.backward = backward
        self.seed = seed
        self.equal_windows = equal_windows or seed is None
        # The last token read is only ever a target; the last target of any
        # other row is the next row's first input.
        self.row_length = (corpus.num_tokens - 1) // batch_size
        if self.row_length < 1:
            raise ValueError(
                "A language model needs at least one token and its successor "
                f"in every batch row. Received: {corpus.num_tokens} "
                f"tokens for batch_size={batch_size}. Use more text or a "
                "smaller batch."
            )
        self.steps_per_epoch = len(self._lengths(0))

    def _rng(self, epoch):
        return np.random.default_rng([self.seed, epoch])

    def _lengths(self, epoch):
        if self.equal_windows:
            full, rest = divmod(self.row_length, BASE_LENGTH)
            return np.array([BASE_LENGTH] * full + [rest] * bool(rest))
        return window_lengths(self.row_length, self._rng(epoch))

    def _reader(self, epoch):
        """Returns a function that reads the epoch's stream anywhere."""
        order = np.arange(len(self.corpus))
        if self.seed is not None:
            # A generator of its own, as the lengths draw from the other.
            np.random.default_rng([self.seed, epoch, 1]).shuffle(order)
        ends = np.cumsum(self.corpus.lengths[order])

        def read(start, length):
            index = np.searchsorted(ends, start, side="right")
            pieces, missing = [], length
            while missing:
                document = self.corpus[order[index]]
                if self.backward:
                    document = document[::-1]
                skip = start + length - missing - (ends[index] - len(document))
                piece = document[skip : skip + missing]
                pieces.append(piece)
                missing -= len(piece)
                index += 1
            return np.concatenate(pieces)

        return read

    def windows(self, first_step=0):
        """Yields `(inputs, targets)` from global step `first_step` on, forever.

        Args:
            first_step: Int, counted over all epochs.

        Yields:
            `inputs`, a dict of `token_ids` int32 `(batch_size, length)` and
            `stream_start` int32 `(batch_size,)`, 1 in an epoch's first window
            and else 0; `targets` int32 `(batch_size, length)`, the token
            after each.
        """
        epoch, first = divmod(first_step, self.steps_per_epoch)
        while True:
            lengths = self._lengths(epoch)
            starts = np.concatenate([[0], np.cumsum(lengths)])
            read = self._reader(epoch)
            for step in range(first, len(lengths)):
                block = np.stack(
                    [
                        read(
                            row * self.row_length + starts[step],
                            lengths[step] + 1,
                        )
                        for row in range(self.batch_size)
                    ],
                    # Ids on disk may have two bytes.
                    dtype="int32",
                )
                inputs = {
                    "token_ids": block[:, :-1],
                    # Not bool: under a distribution strategy Keras averages
                    # a batch over the replicas to learn its shapes.
                    "stream_start": np.full(
                        self.batch_size, step == 0, "int32"
                    ),
                }
                yield inputs, block[:, 1:]
            epoch, first = epoch + 1, 0

    def dataset(self, first_step=0):
        """Returns the windows from `first_step` on as a `tf.data.Dataset`."""
        # Only here, so that the windows can be read without TensorFlow.
        import tensorflow as tf

        shape = (self.batch_size, None)
        dataset = tf.data.Dataset.from_generator(
            lambda: self.windows(first_step),
            output_signature=(
                {
                    "token_ids": tf.TensorSpec(shape, tf.int32),
                    "stream_start": tf.TensorSpec((self.batch_size,), tf.int32),
                },
                tf.TensorSpec(shape, tf.int32),
            ),
        )
        return dataset.prefetch(8)
