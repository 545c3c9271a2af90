"""Single weights are dropped at the rate, and the mean stays."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.layers.weight_dropout import drop_weights


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_rate_and_the_scale(rate, dtype):
    weights = tf.ones((333, 301), dtype)
    dropped = drop_weights(weights, rate, keras.random.SeedGenerator(3))
    assert dropped.dtype == dtype and dropped.shape == weights.shape
    values = tf.cast(dropped, "float32").numpy()
    kept = values != 0
    # Four standard deviations of 100,233 draws, and half of a 256th.
    tolerance = 4 * (rate * (1 - rate) / kept.size) ** 0.5 + 1 / 512
    assert abs(kept.mean() - (1 - rate)) < tolerance
    assert len(np.unique(values[kept])) == 1
    np.testing.assert_allclose(
        values[kept][0], 1 / (1 - rate), rtol=0.02 if rate == 0.9 else 0.006
    )
    np.testing.assert_allclose(values.mean(), 1, rtol=0.05)
    # Neighbours come from one random number, and must not show it.
    flat = kept.ravel().astype("float64")
    for shift in (1, 2, 3, 4):
        assert abs(np.corrcoef(flat[shift:], flat[:-shift])[0, 1]) < 0.02


def test_a_draw_follows_from_the_seed_alone():
    weights = tf.random.normal((7, 9))
    generator = keras.random.SeedGenerator(1)
    first, second = (drop_weights(weights, 0.5, generator) for _ in range(2))
    again = drop_weights(weights, 0.5, keras.random.SeedGenerator(1))
    np.testing.assert_array_equal(first, again)
    assert (first.numpy() != second.numpy()).any()


def test_what_is_dropped_has_no_gradient():
    weights = tf.Variable(np.random.default_rng(0).normal(size=(5, 3)))
    with tf.GradientTape() as tape:
        dropped = drop_weights(weights, 0.5, keras.random.SeedGenerator(0))
        total = tf.reduce_sum(dropped)
    np.testing.assert_allclose(
        tape.gradient(total, weights), np.where(dropped.numpy() != 0, 2, 0)
    )
