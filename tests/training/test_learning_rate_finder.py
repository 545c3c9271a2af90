"""The range test on a problem whose best learning rate is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.training import LearningRateCurve, find_learning_rate


def quadratic_model(schedule):
    """A bias that is to become 1: the loss is `(bias - 1) ** 2`."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(schedule), "mse")
    return model


def test_the_sweep_against_numpy_and_the_model_unchanged():
    rates = np.geomspace(1e-3, 10.0, 60)
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 59, 1e4)
    model = quadratic_model(schedule)
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = [variable.numpy() for variable in variables]
    batch = (np.zeros((4, 1), "float32"), np.ones((4, 1), "float32"))
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    curve = find_learning_rate(model, dataset, rates)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    bias, losses = 0.0, []
    for rate in rates[: len(curve.losses)]:
        losses.append((bias - 1) ** 2)
        bias -= rate * 2 * (bias - 1)
    # Later losses are what rounding errors of the minimum have grown to.
    np.testing.assert_allclose(curve.losses[:50], losses[:50], atol=1e-5)
    # A loss weighs 0.9 times as much as the one after it.
    for last in range(len(curve.losses)):
        weights = 0.9 ** np.arange(last, -1, -1)
        expected = np.average(curve.losses[: last + 1], weights=weights)
        assert curve.smoothed[last] == pytest.approx(expected, rel=1e-6)
    # Gradient descent diverges beyond a rate of 1, and the sweep stops.
    assert len(curve.losses) < len(rates)
    assert curve.rates[-1] > 1
    assert curve.minimum_tenth < 1


def test_a_loss_that_is_never_finite_is_named():
    model = quadratic_model(keras.optimizers.schedules.CosineDecay(1e-3, 9))
    model.layers[-1].bias.assign([np.nan])
    batch = (np.zeros((4, 1), "float32"), np.ones((4, 1), "float32"))
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    with pytest.raises(FloatingPointError, match="not finite"):
        find_learning_rate(model, dataset, np.geomspace(1e-3, 1, 9))


def test_the_suggestions_of_a_curve():
    rates = np.geomspace(1e-4, 1.0, 41)
    # Over log10(rate): flat at 5, falling steepest at -2, lowest at -1.
    position = np.log10(rates)
    losses = 5 - 2 / (1 + np.exp(-6 * (position + 2)))
    losses += np.where(position > -1, 10 * (position + 1), 0)
    curve = LearningRateCurve(rates, losses, losses)
    np.testing.assert_allclose(curve.steepest, 1e-2, rtol=0.01)
    np.testing.assert_allclose(curve.minimum_tenth, 1e-2, rtol=0.01)
    rising = LearningRateCurve(rates, position, position)
    assert rising.steepest is None
