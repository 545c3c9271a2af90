"""Row transfer between vocabularies against a NumPy oracle."""

import numpy as np
import pytest

from ulmfit_tf.text import SPECIAL_TOKENS, Vocabulary, transfer_rows

SOURCE = Vocabulary([*SPECIAL_TOKENS, "the", "cat", "sat"])
TARGET = Vocabulary([*SPECIAL_TOKENS, "dog", "sat", "the", "ran"])


def oracle(source, target, array):
    """Row by row, in plain Python."""
    source_ids = {token: index for index, token in enumerate(source.tokens)}
    mean = sum(array[index] for index in range(len(array))) / len(array)
    return np.stack(
        [
            array[source_ids[token]] if token in source_ids else mean
            for token in target.tokens
        ]
    )


def test_shared_words_keep_their_rows_and_new_ones_get_the_mean():
    generator = np.random.default_rng(0)
    embeddings = generator.normal(1.0, 2.0, (12, 5)).astype("float32")
    bias = generator.normal(-3.0, 1.0, (12,)).astype("float32")
    new_embeddings, new_bias = transfer_rows(SOURCE, TARGET, embeddings, bias)
    assert new_embeddings.dtype == new_bias.dtype == "float32"
    np.testing.assert_allclose(
        new_embeddings, oracle(SOURCE, TARGET, embeddings), rtol=1e-6
    )
    np.testing.assert_allclose(
        new_bias, oracle(SOURCE, TARGET, bias), rtol=1e-6
    )
    # Shared rows are not merely close: they are the same.
    np.testing.assert_array_equal(new_embeddings[10], embeddings[11])
    np.testing.assert_array_equal(new_embeddings[11], embeddings[9])


def test_unknown_word_row_is_kept_not_averaged():
    array = np.arange(12.0)
    (transferred,) = transfer_rows(SOURCE, TARGET, array)
    assert transferred[0] == 0.0
    assert transferred[9] == 5.5


def test_same_vocabulary_is_the_identity():
    array = np.arange(24.0).reshape(12, 2)
    (transferred,) = transfer_rows(SOURCE, SOURCE, array)
    np.testing.assert_array_equal(transferred, array)
    transferred[:] = 0
    assert array[1, 1] == 3.0


def test_mean_of_many_float32_rows_is_exact():
    tokens = [*SPECIAL_TOKENS, *(f"w{n}" for n in range(65_527))]
    source = Vocabulary(tokens)
    array = np.full(len(source), 16_777.217, "float32")
    (transferred,) = transfer_rows(source, TARGET, array)
    assert transferred[9] == array[0]


@pytest.mark.parametrize("shape", [(11, 4), (13,), ()])
def test_wrong_shapes_are_refused(shape):
    good = np.zeros((12, 4))
    with pytest.raises(ValueError, match="array 1 of shape"):
        transfer_rows(SOURCE, TARGET, good, np.zeros(shape))
