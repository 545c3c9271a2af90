"""The fused step of Adam beside Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.training import Adam


def run_steps(optimizer, variable, gradients):
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    for gradient in gradients:
        step(tf.constant(gradient))


@pytest.mark.parametrize("weight_decay", [None, 0.01])
def test_steps_are_those_of_keras(weight_decay):
    settings = {
        "learning_rate": 0.05,
        "beta_1": 0.7,
        "beta_2": 0.99,
        "weight_decay": weight_decay,
    }
    rng = np.random.default_rng(0)
    start = rng.normal(size=(7, 5)).astype("float32")
    gradients = rng.normal(size=(6, 7, 5)).astype("float32")
    results = []
    for optimizer_class in (Adam, keras.optimizers.Adam):
        variable = keras.Variable(start)
        optimizer = optimizer_class(**settings)
        optimizer.build([variable])
        run_steps(optimizer, variable, gradients)
        results.append([variable, *optimizer.variables])
    assert len(results[0]) == len(results[1]) == 5
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert np.abs(results[0][0] - start).max() > 0.1
