"""Training that diverges ends at once, and keeps what was good."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.finite_loss import FiniteLoss
from ulmfit_tf.training import BestWeights, TrainingState, resumable_fit

STEPS = 4


def batches(bad_step, bad_value):
    def make(step=0):
        def generate():
            number = step
            while True:
                value = bad_value if number == bad_step else 1.0
                yield np.full((2, 1), value, "float32"), np.ones((2, 1))
                number += 1

        signature = (tf.TensorSpec((2, 1)), tf.TensorSpec((2, 1)))
        return tf.data.Dataset.from_generator(
            generate, output_signature=signature
        )

    return make


@pytest.mark.parametrize("bad_value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "bad_step, every, told_at",
    [
        *((0, 1, 1), (3, 1, 4), (6, 1, 7), (7, 1, 8)),
        # The next look is in the same epoch, or at its end.
        *((1, 3, 4), (5, 3, 8), (1, 20, 4), (6, 20, 8)),
    ],
)
def test_the_first_loss_that_is_not_finite_ends_it(
    tmp_path, bad_step, every, told_at, bad_value
):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    state = TrainingState(tmp_path / "state.npz", every_seconds=0)
    variables = {"kernel": model.layers[0].kernel}
    best = BestWeights(tmp_path / "best.npz", variables, state)
    make = batches(bad_step, bad_value)
    with pytest.raises(FloatingPointError) as caught:
        resumable_fit(
            model,
            make,
            STEPS,
            epochs=3,
            state=state,
            callbacks=[FiniteLoss(state, "Do this.", every), best],
            validation_data=batches(-1, 0)(),
            validation_steps=1,
        )
    assert str(caught.value).startswith("`loss` is")
    assert f"at step {told_at}:" in str(caught.value)
    assert str(caught.value).endswith("Do this.")
    # What is on disk is from before.
    assert (tmp_path / "state.npz").exists() == (bad_step > 0)
    assert (tmp_path / "best.npz").exists() == (bad_step >= STEPS)
    for path in tmp_path.glob("*.npz"):
        with np.load(path) as file:
            for name in file.files:
                if file[name].dtype == np.float32:
                    assert np.isfinite(file[name]).all(), (path, name)


def test_a_validation_loss_is_seen_too(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    state = TrainingState(tmp_path / "state.npz")
    with pytest.raises(FloatingPointError, match="`val_loss` is nan at step 4"):
        resumable_fit(
            model,
            batches(-1, 0),
            STEPS,
            epochs=3,
            state=state,
            callbacks=[FiniteLoss(state, "")],
            validation_data=batches(0, np.nan)(),
            validation_steps=1,
        )
    assert not list(tmp_path.glob("*.npz"))
