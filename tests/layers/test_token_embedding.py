"""Embedding dropout removes whole words."""

import keras
import numpy as np

from ulmfit_tf.layers import TokenEmbedding

VOCABULARY_SIZE, UNITS = 300, 3


def make_layer(rate, **kwargs):
    keras.utils.set_random_seed(4)
    layer = TokenEmbedding(
        VOCABULARY_SIZE, UNITS, embedding_dropout=rate, **kwargs
    )
    layer.build((None, None))
    return layer


def every_word_twice():
    ids = np.arange(VOCABULARY_SIZE)
    return np.stack([ids, np.roll(ids[::-1], 5)])


def test_a_dropped_word_is_zero_wherever_it_occurs():
    rate = 0.3
    layer = make_layer(rate)
    ids = every_word_twice()
    matrix = layer.embeddings.numpy()
    assert np.abs(matrix).min() > 0
    factors = layer(ids, training=True).numpy() / matrix[ids]
    of_word = np.zeros(VOCABULARY_SIZE)
    of_word[ids[0]] = factors[0, :, 0]
    np.testing.assert_allclose(
        factors, np.repeat(of_word[ids][:, :, None], UNITS, 2), rtol=1e-5
    )
    kept = of_word > 0
    np.testing.assert_allclose(of_word[kept], 1 / (1 - rate), rtol=1e-5)
    # Four standard deviations of the fraction of 300 words.
    assert abs(kept.mean() - (1 - rate)) < 0.106
    np.testing.assert_array_equal(layer.embeddings, matrix)


def test_words_are_dropped_anew_each_pass_and_only_in_training():
    layer = make_layer(0.3)
    ids = every_word_twice()
    first, second = (layer(ids, training=True).numpy() for _ in range(2))
    assert np.any((first == 0) != (second == 0))
    expected = layer.embeddings.numpy()[ids]
    np.testing.assert_array_equal(layer(ids), expected)
    np.testing.assert_array_equal(
        make_layer(0.0)(ids, training=True), make_layer(0.0)(ids)
    )


def test_rows_start_small_and_uniform():
    matrix = make_layer(0.0).embeddings.numpy()
    assert -0.1 <= matrix.min() < -0.098
    assert 0.098 < matrix.max() <= 0.1


def test_padding_is_masked():
    ids = np.array([[1, 2, 0], [3, 1, 5]])
    np.testing.assert_array_equal(
        make_layer(0.0).compute_mask(ids), [[0, 1, 1], [1, 0, 1]]
    )
    np.testing.assert_array_equal(
        make_layer(0.0, padding_id=5).compute_mask(ids),
        [[1, 1, 1], [1, 1, 0]],
    )


def test_mixed_precision_computes_low_and_stores_float32():
    layer = make_layer(0.3, dtype="mixed_bfloat16")
    assert layer(every_word_twice(), training=True).dtype == "bfloat16"
    assert layer.embeddings.dtype == "float32"
