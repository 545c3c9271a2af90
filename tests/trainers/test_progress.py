"""What a training stage says of its progress."""

import logging
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import progress
from trainers.progress import Progress, seconds_a_batch
from ulmfit_tf.training import TrainingState, resumable_fit

SLOW = 0.02


def slow_batches(step=0):
    def generate():
        while True:
            time.sleep(SLOW)
            yield np.ones((2, 3), "float32"), np.ones((2, 1), "float32")

    signature = (tf.TensorSpec((2, 3)), tf.TensorSpec((2, 1)))
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def test_the_time_of_a_batch_is_that_of_its_making():
    # A pipeline may begin a batch before it is asked for it.
    assert SLOW / 2 < seconds_a_batch(slow_batches(), 5) < 10 * SLOW


def test_a_data_set_that_ends_early_is_timed_as_far_as_it_goes():
    assert seconds_a_batch(slow_batches().take(2)) > SLOW / 2


def test_time_left_follows_the_layers_that_are_trained(monkeypatch, caplog):
    """Two cheap epochs of ten steps, then two that take ten times as long."""
    now = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "seconds_a_batch", lambda batches: 0.0)
    state = types.SimpleNamespace(step=0, steps_per_epoch=10)
    lines = Progress("stage", state, 40, lambda step: None, changes=[20])
    caplog.set_level(logging.INFO, "trainers")
    lines.on_train_begin()
    for epoch in range(4):
        lines.on_epoch_begin(epoch)
        for batch in range(10):
            # The first step of each traces a graph.
            now[0] += 500 if state.step in (0, 20) else 6 if epoch < 2 else 60
            lines.on_train_batch_end(batch)
            state.step += 1
        lines.on_epoch_end(epoch)
    mid = [line for line in caplog.messages if "done" not in line]
    assert "epoch 1 of 4" in mid[0] and "epoch 4 of 4" in mid[-1]
    left = [line for line in caplog.messages if "epoch 1 done" in line]
    # Thirty steps of 6 s: what is known is too little, which it says.
    assert "at least 3." in left[0]
    # The next step is the first one of more layers.
    (last,) = [line for line in caplog.messages if "epoch 2 done" in line]
    assert "at least 2." in last and "step 20/40" in last
    (left,) = [line for line in caplog.messages if "epoch 3 done" in line]
    minutes = float(left.split(" min left")[0].split(", ")[-1])
    assert minutes == pytest.approx(10, rel=0.15)


@pytest.fixture
def reports(monkeypatch, caplog):
    """Lines of three reports of 25 steps of 1 s, each with 25 s at its end."""
    now = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "seconds_a_batch", lambda batches: 0.0)
    state = types.SimpleNamespace(step=0, steps_per_epoch=25)
    lines = Progress("stage", state, 75, lambda step: None, unit="report")
    caplog.set_level(logging.INFO, "trainers")
    lines.on_train_begin()
    for report in range(3):
        lines.on_epoch_begin(report)
        for batch in range(25):
            now[0] += 1
            lines.on_train_batch_end(batch)
            state.step += 1
        now[0] += 25
        lines.on_epoch_end(report)
    return caplog.messages


def test_parts_of_an_epoch_are_not_called_epochs(reports):
    assert "report 1 of 3" in reports[0] and "report 1 done" in reports[1]
    # 21 steps of a second are the first after the interval.
    assert "step 21/75" in reports[0] and "step 25/75" in reports[1]
    assert "epoch" not in " ".join(reports)


def test_time_left_is_a_bound_until_validation_has_been_seen(reports):
    within, first, *later = reports
    # 54 steps, and what else they need is not known.
    assert "at least 0.9 min left" in within
    # 50 steps and two validations.
    assert float(first.split(" min left")[0].split(", ")[-1]) == pytest.approx(
        100 / 60, abs=0.1
    )
    assert "at least" not in " ".join(later)


def test_lines_give_step_share_of_the_input_and_metrics(tmp_path, caplog):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    state = TrainingState(tmp_path / "state.npz")
    with caplog.at_level(logging.INFO, "trainers"):
        resumable_fit(
            model,
            slow_batches,
            4,
            2,
            state,
            callbacks=[Progress("stage", state, 8, slow_batches, 10.0)],
        )
    line = caplog.messages[-1]
    assert line.startswith("stage: step 8/8, ")
    assert "tokens/s" in line and "epoch 2 done" in line and "loss" in line
    share = float(line.split("input ")[1].split(" %")[0])
    # Little but waiting for data takes time here, on an idle machine.
    assert share > 5
