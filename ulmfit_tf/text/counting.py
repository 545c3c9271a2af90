"""Counts the tokens of a corpus, to build a vocabulary from."""

import collections
import itertools
from collections.abc import Callable, Iterable

import tensorflow as tf


def count_tokens(
    tokenizer: tf.Module | Callable[[tf.Tensor], tf.RaggedTensor],
    texts: Iterable[str | bytes],
    batch_size: int = 1024,
) -> collections.Counter[str]:
    """Counts how often each token occurs in a corpus.

    Runs in the graph, and only each batch's distinct tokens reach Python.

    Args:
        tokenizer: A tokenizer, whose `tokenize` is used, or a function from
            a string tensor `(batch,)` to a ragged one, such as
            `split_words`.
        texts: The documents.
        batch_size: Documents a step.

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

    totals: collections.Counter[bytes] = collections.Counter()
    texts = iter(texts)
    while batch := list(itertools.islice(texts, batch_size)):
        tokens, counts = count(tf.constant(batch))
        for token, number in zip(
            tokens.numpy().tolist(), counts.numpy().tolist(), strict=True
        ):
            totals[token] += number
    return collections.Counter(
        {token.decode("utf-8"): number for token, number in totals.items()}
    )
