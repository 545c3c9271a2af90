"""Counts the tokens of a corpus, to build a vocabulary from."""

import collections
import itertools
from collections.abc import Callable, Iterable

import tensorflow as tf

# Distinct tokens held at once, some 250 MB.
_MOST_TOKENS = 2_000_000


def count_tokens(
    tokenizer: tf.Module | Callable[[tf.Tensor], tf.RaggedTensor],
    texts: Iterable[str | bytes],
    batch_size: int = 1024,
    most_tokens: int = _MOST_TOKENS,
) -> collections.Counter[str]:
    """Counts how often each token occurs in a corpus.

    Runs in the graph, and only each batch's distinct tokens reach Python. Of a
    large corpus the rarest are forgotten whenever there are too many, so that
    memory has a bound. The counts of rare tokens are then too low; vocabularies
    of usual sizes hold none of them.

    Args:
        tokenizer: A tokenizer, whose `tokenize` is used, or a function from
            a string tensor `(batch,)` to a ragged one, such as
            `split_words`.
        texts: The documents.
        batch_size: Documents a step.
        most_tokens: Distinct tokens to remember after a step, at most.

    Returns:
        A `Counter` for `Vocabulary.build`.

    Raises:
        ValueError: If `batch_size` is not positive.

    Example:
        >>> vocabulary = Vocabulary.build(count_tokens(split_words, texts))
    """
    if batch_size < 1:
        raise ValueError(
            "`batch_size` must be at least 1. "
            f"Received: batch_size={batch_size}."
        )
    tokenize = getattr(tokenizer, "tokenize", tokenizer)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def count(batch):
        unique = tf.unique_with_counts(tokenize(batch).flat_values)
        return unique.y, unique.count

    totals: collections.Counter[str] = collections.Counter()
    rare = 0
    texts = iter(texts)
    while batch := list(itertools.islice(texts, batch_size)):
        tokens, counts = count(tf.constant(batch))
        for token, number in zip(
            tokens.numpy().tolist(), counts.numpy().tolist(), strict=True
        ):
            totals[token.decode("utf-8")] += number
        while len(totals) > most_tokens:
            rare += 1
            totals = collections.Counter(
                {t: number for t, number in totals.items() if number > rare}
            )
    return totals
