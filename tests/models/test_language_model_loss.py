"""The fast ways of computing a loss give that of the plain ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.optimizers import group_optimizers
from ulmfit_tf import models, training

VOCABULARY_SIZE, BATCH, TIMESTEPS = 60, 8, 20


def windows(steps):
    """Text in which a word depends on the one before it."""
    rng = np.random.default_rng(0)
    likely = rng.integers(8, VOCABULARY_SIZE, (VOCABULARY_SIZE, 3))
    ids = rng.integers(8, VOCABULARY_SIZE, (BATCH, 1))
    for _ in range(steps * TIMESTEPS):
        choice = rng.integers(3, size=BATCH)
        ids = np.concatenate([ids, likely[ids[:, -1], choice][:, None]], 1)
    for step in range(steps):
        part = ids[:, step * TIMESTEPS : (step + 1) * TIMESTEPS + 1]
        inputs = {
            "token_ids": part[:, :-1].astype("int32"),
            "stream_start": np.full(BATCH, step == 0, "int32"),
        }
        yield inputs, part[:, 1:].astype("int32")


def losses(steps, use_cpu_kernel, policy="float32", sample_size=None):
    keras.utils.set_random_seed(0)
    model = models.LanguageModel(
        VOCABULARY_SIZE,
        models.ARCHITECTURES["tiny"],
        batch_size=BATCH,
        dropouts=models.LANGUAGE_MODEL_DROPOUTS.scaled(0.5),
        sample_size=sample_size,
        dtype=policy,
    )
    model.build()
    for lstm in model.encoder.lstms:
        lstm.use_cpu_kernel = use_cpu_kernel
    groups = model.layer_groups
    optimizers = group_optimizers([0.004] * len(groups), 1e-7)
    model.compile(
        training.DiscriminativeOptimizer(model, groups, optimizers, 0.3)
    )
    values = []
    for inputs, targets in windows(steps):
        model.reset_metrics()
        logs = model.train_on_batch(
            inputs, tf.constant(targets), return_dict=True
        )
        values.append(float(logs["loss"]))
    return np.array(values)


def test_the_kernel_trains_as_the_plain_keras_loop():
    kernel, plain = (losses(4, use) for use in (True, False))
    assert abs(plain[0] - plain[-1]) > 1e-3
    np.testing.assert_allclose(kernel, plain, rtol=2e-5)


@pytest.mark.slow
def test_loss_curves_of_both_precisions_overlay():
    curves = [
        losses(500, True, policy) for policy in ("float32", "mixed_bfloat16")
    ]
    smooth = [curve.reshape(20, 25).mean(1) for curve in curves]
    # Both learn, and stay together while they do.
    assert smooth[0][-1] < 0.8 * smooth[0][0]
    np.testing.assert_allclose(*smooth, rtol=0.02)
