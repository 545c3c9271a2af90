"""Carries per-word weights from one vocabulary to another."""

import numpy as np

from ulmfit_tf.text.vocabulary import Vocabulary


def transfer_rows(
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    *arrays: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Rearranges pretrained rows for the vocabulary of a new task.

    Words that both vocabularies have keep their row. Words that the source
    lacks start at the mean of all source rows, as in fastai v2 and the
    authors' scripts, so that they are neither likely nor far from the rest.

    Args:
        source_vocabulary: The vocabulary the arrays belong to.
        target_vocabulary: The vocabulary wanted.
        *arrays: Floating-point arrays `(len(source_vocabulary), ...)`, for
            example the embedding matrix and the decoder's bias.

    Returns:
        A tuple with one array `(len(target_vocabulary), ...)` for each
        array, of the same type.

    Raises:
        ValueError: If an array does not have one row a source token.

    Example:
        >>> embeddings, bias = transfer_rows(source, target, embeddings, bias)
    """
    arrays = tuple(np.asarray(array) for array in arrays)
    for position, array in enumerate(arrays):
        if array.ndim == 0 or array.shape[0] != len(source_vocabulary):
            raise ValueError(
                "Each array must have one row for each token of the source "
                f"vocabulary, {len(source_vocabulary)} in all. "
                f"Received: array {position} of shape {array.shape}. Pass "
                "the vocabulary that these weights were trained with."
            )
    source_ids = np.array(
        [
            source_vocabulary.index(token) if token in source_vocabulary else -1
            for token in target_vocabulary
        ],
        dtype="int64",
    )
    known = source_ids >= 0
    transferred = []
    for array in arrays:
        # float64: a float32 or bfloat16 sum over 60,000 rows loses digits.
        mean = array.mean(axis=0, dtype="float64").astype(array.dtype)
        target = np.empty((len(source_ids), *array.shape[1:]), array.dtype)
        target[known] = array[source_ids[known]]
        target[~known] = mean
        transferred.append(target)
    return tuple(transferred)
