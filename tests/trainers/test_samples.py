"""Texts are written by the weights that are evaluated."""

import types

import keras
import numpy as np

from trainers.samples import SampleTexts
from ulmfit_tf import models
from ulmfit_tf.training import ExponentialAveraging


def test_with_averaging_the_averages_write(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    kernel = model.layers[0].kernel
    state = types.SimpleNamespace(step=3, callback_variables=[])
    averaging = ExponentialAveraging({"kernel": kernel}, state, decay=0.5)
    written_by = []

    def generate_text(model, *arguments, **options):
        written_by.append(float(kernel.numpy()[0, 0]))
        return ["text"] * options["num_texts"]

    monkeypatch.setattr(models, "generate_text", generate_text)
    for value in (1.0, 2.0, 4.0):
        kernel.assign([[value]])
        averaging.on_train_batch_end(0)
    for each in (averaging, None):
        samples = SampleTexts(None, False, state, tmp_path, each)
        samples.set_model(model)
        samples.on_epoch_end(0)
        np.testing.assert_array_equal(kernel, [[4.0]])
    # Weights of 1, 2 and 4 for the steps' 1.0, 2.0 and 4.0.
    np.testing.assert_allclose(written_by, [(1 + 4 + 16) / 7, 4.0], rtol=1e-6)
