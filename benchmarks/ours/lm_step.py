"""Training steps of `models.LanguageModel`."""

import time

import keras
import tensorflow as tf

from benchmarks.synthetic import token_windows
from trainers.optimizers import group_optimizers
from ulmfit_tf import models, training


def training_step(
    vocabulary_size,
    batch,
    timesteps,
    precision,
    preset="paper",
    sample_size=None,
    steps=1,
):
    """Returns a function that measures tokens a second over `steps`."""
    keras.utils.set_random_seed(0)
    model = models.LanguageModel(
        vocabulary_size,
        models.ARCHITECTURES[preset],
        batch_size=batch,
        dropouts=models.LANGUAGE_MODEL_DROPOUTS,
        sample_size=sample_size,
        dtype=precision,
    )
    model.build()
    groups = model.layer_groups
    optimizers = group_optimizers([0.004] * len(groups), 1e-7)
    model.compile(
        training.DiscriminativeOptimizer(model, groups, optimizers, 0.3)
    )
    ids = token_windows(vocabulary_size, batch, timesteps + 1)
    inputs = {
        "token_ids": tf.constant(ids[:, :-1], "int32"),
        "stream_start": tf.zeros(batch, "int32"),
    }
    window = (inputs, tf.constant(ids[:, 1:], "int32"))
    batches = iter(tf.data.Dataset.from_tensors(window).repeat())
    model.make_train_function()

    def measure():
        started = time.perf_counter()
        for _ in range(steps):
            model.train_function(batches)
        # Reading a figure waits for the steps to end.
        float(model.get_metrics_result()["loss"])
        return steps * batch * timesteps / (time.perf_counter() - started)

    return measure
