"""Averages of the weights against NumPy, evaluated, saved and resumed."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.training import (
    ExponentialAveraging,
    NonMonotoneAveraging,
    TrainingState,
    resumable_fit,
)
from ulmfit_tf.training.resume import sync_variables

STEPS_PER_EPOCH = 3


def make_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def batches(step=0):
    def generate():
        number = step
        while True:
            rng = np.random.default_rng(number)
            yield (
                rng.normal(size=(4, 3)).astype("float32"),
                rng.normal(size=(4, 2)).astype("float32"),
            )
            number += 1

    signature = (tf.TensorSpec((4, 3)), tf.TensorSpec((4, 2)))
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


class Weights(keras.callbacks.Callback):
    """Keeps the kernel after every step, and what evaluation sees."""

    def __init__(self):
        super().__init__()
        self.trained, self.evaluated = [], []

    def _kernel(self):
        sync_variables(self.model)
        return np.array(self.model.layers[0].kernel)

    def on_train_batch_end(self, batch, logs=None):
        self.trained.append(self._kernel())

    def on_test_batch_end(self, batch, logs=None):
        self.evaluated.append(self._kernel())


class Script(keras.callbacks.Callback):
    """Gives epochs the validation losses of a script."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.losses[epoch]


def train(path, make_averaging, epochs, losses=None, callbacks=()):
    model = make_model()
    state = TrainingState(path, 0.0)
    variables = {"kernel": model.layers[0].kernel}
    averaging = make_averaging(variables, state)
    state.restore(model)
    weights = Weights()
    script = [Script(losses)] if losses else []
    records = resumable_fit(
        model,
        batches,
        STEPS_PER_EPOCH,
        epochs,
        state,
        # The recorder of weights looks after they were exchanged.
        callbacks=[*script, averaging, weights, *callbacks],
        validation_data=batches(1000),
        validation_steps=1,
    )
    return averaging, weights, records


class Without(keras.callbacks.Callback):
    """No averaging."""

    def __init__(self, variables, state):
        super().__init__()


def debiased(trained, decay):
    """The mean of all weights so far, older ones weighed less."""
    factors = decay ** np.arange(len(trained))[::-1]
    return np.tensordot(factors, np.array(trained), 1) / factors.sum()


def test_exponential_average_against_numpy(tmp_path):
    def make(variables, state):
        return ExponentialAveraging(variables, state, decay=0.8)

    averaging, weights, _ = train(tmp_path / "a.npz", make, 2)
    assert averaging.averaged_steps == 2 * STEPS_PER_EPOCH
    np.testing.assert_allclose(
        averaging.averages["kernel"], debiased(weights.trained, 0.8), rtol=1e-5
    )
    # Each epoch was evaluated with the average up to there.
    for epoch, evaluated in enumerate(weights.evaluated, start=1):
        done = weights.trained[: epoch * STEPS_PER_EPOCH]
        np.testing.assert_allclose(evaluated, debiased(done, 0.8), rtol=1e-5)
    # And training went on as if nothing were averaged.
    _, plain, _ = train(tmp_path / "b.npz", Without, 2)
    np.testing.assert_array_equal(weights.trained, plain.trained)
    assert np.any(weights.evaluated[0] != plain.evaluated[0])


# Worse in epoch 4 than the best but the last two (0.65 > 0.6), and in epoch 3
# than the best but the last one (0.7 > 0.6).
LOSSES = [0.9, 0.6, 0.5, 0.7, 0.65, 0.4, 0.3]


def non_monotone(variables, state):
    return NonMonotoneAveraging(variables, state, patience=2)


def test_non_monotone_average_begins_at_the_trigger(tmp_path):
    averaging, weights, _ = train(
        tmp_path / "state.npz", non_monotone, 7, LOSSES
    )
    trigger = 4
    expected_trigger = next(
        epoch
        for epoch in range(len(LOSSES))
        if LOSSES[: max(0, epoch - 2)]
        and LOSSES[epoch] > min(LOSSES[: epoch - 2])
    )
    assert trigger == expected_trigger
    # The weights at the trigger and all later ones, alike.
    first = (trigger + 1) * STEPS_PER_EPOCH - 1
    assert averaging.averaged_steps == len(weights.trained) - first
    np.testing.assert_allclose(
        averaging.averages["kernel"],
        np.mean(weights.trained[first:], axis=0),
        rtol=1e-5,
    )
    # Up to the trigger the weights themselves were evaluated.
    for epoch in range(trigger + 1):
        last = weights.trained[(epoch + 1) * STEPS_PER_EPOCH - 1]
        np.testing.assert_array_equal(weights.evaluated[epoch], last)


def test_a_loss_that_keeps_falling_averages_nothing(tmp_path):
    falling = list(np.linspace(1, 0.5, 7))
    averaging, weights, _ = train(
        tmp_path / "state.npz", non_monotone, 7, falling
    )
    assert averaging.averaged_steps == 0
    # What is exported then are the weights last evaluated.
    np.testing.assert_array_equal(
        averaging.averages["kernel"], weights.trained[-1]
    )


@pytest.mark.parametrize("step", [5, 14, 16], ids=str)
@pytest.mark.parametrize("make", [ExponentialAveraging, non_monotone])
def test_resumed_averages_are_those_of_the_whole_run(make, step, tmp_path):
    path = tmp_path / "state.npz"

    class Copy(keras.callbacks.Callback):
        """Copies the file when a step begins: what a death then leaves."""

        steps = 0

        def on_train_batch_begin(self, batch, logs=None):
            if self.steps == step:
                shutil.copy(path, tmp_path / "copy.npz")
            self.steps += 1

    whole, _, expected = train(path, make, 7, LOSSES, [Copy()])
    resumed, _, records = train(tmp_path / "copy.npz", make, 7, LOSSES)
    assert resumed.averaged_steps == whole.averaged_steps > 0
    np.testing.assert_array_equal(
        resumed.averages["kernel"], whole.averages["kernel"]
    )
    assert records == expected


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match="decay=1"):
        ExponentialAveraging({}, None, decay=1)


def test_on_jax_it_is_the_same():
    """There a step leaves the variables empty, and reuses their memory."""
    pytest.importorskip("jax")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "not jax", __file__],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
