"""A run that is killed and resumed ends where the uninterrupted one does."""

import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf import models
from ulmfit_tf.data.chunks import DocumentBatches
from ulmfit_tf.data.lm_stream import LanguageModelStream
from ulmfit_tf.data.token_cache import TokenizedCorpus
from ulmfit_tf.training import (
    BestWeights,
    DiscriminativeOptimizer,
    GradualUnfreezing,
    SlantedTriangular,
    Stage,
    TrainingState,
    resumable_fit,
    saved_step,
)
from ulmfit_tf.whole_files import DamagedFile

VOCABULARY_SIZE, BATCH = 11, 3
ARCHITECTURE = models.Architecture(3, 4, 1)
DROPOUTS = models.Dropouts(0.2, 0.2, 0.2, 0.2, 0.2)


class Killed(Exception):
    """Stands for the death of the process."""


class Kill(keras.callbacks.Callback):
    """Dies after a step, or at the end of an epoch once it is saved."""

    def __init__(self, step=None, epoch=None):
        super().__init__()
        self.at_step, self.at_epoch, self.steps = step, epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == self.at_step:
            raise Killed

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at_epoch:
            raise Killed


def make_corpus(num_documents=20, longest=40):
    rng = np.random.default_rng(0)
    return TokenizedCorpus.from_documents(
        [
            rng.integers(2, VOCABULARY_SIZE, rng.integers(2, longest))
            for _ in range(num_documents)
        ]
    )


def compiled(model, **kwargs):
    groups = model.layer_groups
    optimizers = [
        keras.optimizers.Adam(SlantedTriangular(0.01 * index, 9, 0.3))
        for index in range(1, len(groups) + 1)
    ]
    optimizer = DiscriminativeOptimizer(model, groups, optimizers, 0.3)
    model.compile(optimizer, **kwargs)
    return model


class LanguageModelRun:
    """Three epochs of three steps, dropout on, the state carried."""

    steps_per_epoch, epochs = 3, 3

    def __init__(self, seed=1):
        self.stream = LanguageModelStream(make_corpus(), BATCH, seed=0)
        self.dataset = self.stream.dataset
        keras.utils.set_random_seed(seed)
        self.model = models.LanguageModel(
            VOCABULARY_SIZE, ARCHITECTURE, BATCH, DROPOUTS, sample_size=5
        )
        self.model.build()
        compiled(self.model)
        self.callbacks = []
        self.fit = {
            "validation_data": self.stream.dataset(),
            "validation_steps": 1,
        }


class ClassifierRun:
    """Gradual unfreezing, batch norm, a metric of the compiled kind."""

    steps_per_epoch, epochs = 3, 3

    def __init__(self, seed=1):
        corpus = make_corpus(9, 17)
        labels = np.eye(2)[np.arange(9) % 2]
        batches = DocumentBatches(corpus, labels, BATCH, chunk_length=4)
        assert batches.steps_per_epoch == self.steps_per_epoch
        self.dataset = batches.dataset
        keras.utils.set_random_seed(seed)
        self.model = models.TextClassifier(
            VOCABULARY_SIZE,
            2,
            ARCHITECTURE,
            DROPOUTS,
            head_units=3,
            chunk_length=4,
            pooled_length=8,
        )
        self.model.build()
        compiled(
            self.model,
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        )
        groups = self.model.layer_groups
        stages = [Stage(1, (2,)), Stage(2, (0, 1, 2))]
        self.callbacks = [GradualUnfreezing(groups, stages)]
        self.fit = {}


def fit(run, path, *more_callbacks):
    state = TrainingState(path, every_seconds=0.0)
    state.restore(run.model)
    return resumable_fit(
        run.model,
        run.dataset,
        run.steps_per_epoch,
        run.epochs,
        state,
        callbacks=[*run.callbacks, *more_callbacks],
        **run.fit,
    )


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return {f"{i} {v.path}": v.numpy() for i, v in enumerate(variables)}


class Copy(keras.callbacks.Callback):
    """Copies the file when a step begins: what a death then leaves."""

    def __init__(self, path, step):
        super().__init__()
        self.path, self.at_step, self.step = path, step, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.step == self.at_step:
            shutil.copy(self.path, f"{self.path}.copy")
        self.step += 1


@pytest.mark.parametrize(
    "make_run",
    [
        pytest.param(LanguageModelRun, id="language_model"),
        pytest.param(ClassifierRun, id="classifier"),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(make_run, tmp_path):
    path = tmp_path / "state.npz"
    whole = make_run()
    start = values(whole.model)
    # In the middle of the second epoch.
    expected = fit(whole, path, Copy(path, step=5))
    assert [record["epoch"] for record in expected] == [0, 1, 2]
    end = values(whole.model)
    changed = [name for name in end if np.any(end[name] != start[name])]
    assert len(changed) > len(start) / 2
    # Into a model that was made with other weights and seeds.
    resumed = make_run(seed=7)
    records = fit(resumed, f"{path}.copy")
    for record, other in zip(records, expected, strict=True):
        assert record == pytest.approx(other, rel=1e-6)
    for (name, one), (theirs, other) in zip(
        values(resumed.model).items(), end.items(), strict=True
    ):
        np.testing.assert_allclose(
            one, other, rtol=1e-6, atol=1e-8, err_msg=f"{name} {theirs}"
        )
    # Nothing is left to do: neither steps nor records change.
    again = make_run()
    assert fit(again, path) == expected


def small_model(units=2):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(units, use_bias=False)]
    )
    # A metric of this kind has no variables before the first step.
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def small_dataset(step=0):
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    dataset = tf.data.Dataset.from_tensors((x, x[:, :2]))
    return dataset.repeat()


def test_a_state_with_damaged_weights_is_named_and_changes_nothing(tmp_path):
    path = tmp_path / "state.npz"
    resumable_fit(small_model(), small_dataset, 1, 1, TrainingState(path))
    content = bytearray(path.read_bytes())
    # One of the numbers of an array that lies behind others.
    with np.load(path) as file:
        name = [name for name in file.files if name != "header"][-1]
    header = content.index(b"NUMPY", content.index(f"{name}.npy".encode()))
    content[header - 1 + 128] ^= 1
    path.write_bytes(content)
    assert saved_step(path) == 1
    other = small_model()
    before = other.get_weights()
    with pytest.raises(DamagedFile, match=r"state\.npz. cannot be read"):
        TrainingState(path).restore(other)
    for weights, kept in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)


@pytest.mark.parametrize("content", [b"", b"PK", b"cut short"])
def test_files_that_are_damaged_are_named(tmp_path, content):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    model, state = small_model(), TrainingState(path)
    best = BestWeights(tmp_path / "best.npz", {}, state)
    for read in (lambda: state.restore(model), lambda: saved_step(path)):
        with pytest.raises(DamagedFile, match=r"state\.npz. cannot be read"):
            read()
    with pytest.raises(DamagedFile, match=r"best\.npz. cannot be read.*copy"):
        best.restore()


def test_the_file_is_written_whole(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "state.npz"
    state = TrainingState(path, every_seconds=1e6)
    resumable_fit(small_model(), small_dataset, 2, 1, state)
    content = path.read_bytes()
    assert os.listdir(path.parent) == ["state.npz"]

    def die(source, target):
        raise Killed

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(Killed):
        model = small_model()
        state = TrainingState(path)
        state.restore(model)
        resumable_fit(model, small_dataset, 2, 2, state)
    assert path.read_bytes() == content


def test_files_come_with_time_and_at_the_end_of_epochs(tmp_path):
    class Steps(keras.callbacks.Callback):
        """The step of the file after every batch."""

        def __init__(self):
            super().__init__()
            self.found = []

        def on_train_batch_begin(self, batch, logs=None):
            found = None
            if path.exists():
                with np.load(path) as file:
                    found = json.loads(file["header"].tobytes())["step"]
            self.found.append(found)

    expected = {0.0: [None, 1, 2, 3, 4, 5], 1e6: [None, None, None, 3, 3, 3]}
    for seconds, steps in expected.items():
        path = tmp_path / f"{seconds}.npz"
        state, seen = TrainingState(path, seconds), Steps()
        resumable_fit(
            small_model(), small_dataset, 3, 2, state, callbacks=[seen]
        )
        assert seen.found == steps


class Spoil(keras.callbacks.Callback):
    """Makes the weights useless after a step whose loss was finite."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            kernel = self.model.layers[0].kernel
            kernel.assign(keras.ops.full(kernel.shape, float("inf")))


@pytest.mark.parametrize("batch", [2, 3], ids=["within", "at_the_end"])
def test_nothing_is_kept_that_is_not_finite(tmp_path, batch):
    path = tmp_path / "state.npz"
    records = resumable_fit(
        small_model(),
        small_dataset,
        4,
        1,
        TrainingState(path, every_seconds=0.0),
        callbacks=[Spoil(batch)],
    )
    assert len(records) == 1
    # What was good can still be resumed.
    state, model = TrainingState(path), small_model()
    assert state.restore(model) is True
    assert (state.step, state.records) == (batch, [])
    assert np.isfinite(model.get_weights()[0]).all()


def test_no_file_is_a_new_run(tmp_path):
    state = TrainingState(tmp_path / "state.npz")
    assert state.restore(small_model()) is False
    assert (state.step, state.records) == (0, [])


def test_the_state_of_another_model_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    resumable_fit(small_model(), small_dataset, 1, 1, TrainingState(path))
    assert TrainingState(path).restore(small_model()) is True
    other = small_model(units=5)
    before = other.get_weights()[0]
    with pytest.raises(ValueError, match="its model variables differ"):
        TrainingState(path).restore(other)
    np.testing.assert_array_equal(other.get_weights()[0], before)
    other = small_model()
    other.compile("adam", "mse")
    with pytest.raises(ValueError, match="its optimizer variables differ"):
        TrainingState(path).restore(other)


class Scripted(keras.callbacks.Callback):
    """Gives epochs the losses of a script, and weights their number."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.losses[epoch]
        kernel = self.model.layers[0].kernel
        kernel.assign(keras.ops.full(kernel.shape, float(epoch)))


# The best epoch is 2; 5 equals it, which is no improvement.
LOSSES = [0.9, 0.5, 0.3, 0.4, 0.6, 0.3, 0.1]


def best_run(tmp_path, kill=None, patient_from=0):
    model = small_model()
    state = TrainingState(tmp_path / "state.npz", 0.0)
    state.restore(model)
    kernel = model.layers[0].kernel
    best = BestWeights(
        tmp_path / "best" / "weights.npz",
        {"kernel": kernel},
        state,
        patient_from=patient_from,
    )
    callbacks = [Scripted(LOSSES), best] + ([kill] if kill else [])
    records = resumable_fit(model, small_dataset, 2, 7, state, callbacks)
    return kernel, best, records


def test_training_stops_after_worse_epochs_and_restores_the_best(tmp_path):
    kernel, best, records = best_run(tmp_path)
    assert [record["val_loss"] for record in records] == LOSSES[:6]
    np.testing.assert_array_equal(kernel, np.full((3, 2), 5.0))
    best.restore()
    np.testing.assert_array_equal(kernel, np.full((3, 2), 2.0))
    assert os.listdir(tmp_path / "best") == ["weights.npz"]


def test_patience_begins_where_all_layers_are_trained(tmp_path):
    kernel, best, records = best_run(tmp_path, patient_from=4)
    # The fifth epoch is the first to count.
    assert [record["val_loss"] for record in records] == LOSSES
    best.restore()
    np.testing.assert_array_equal(kernel, np.full((3, 2), 6.0))


class StopAfter(keras.callbacks.Callback):
    """Stops for a reason of its own."""

    def __init__(self, epoch):
        super().__init__()
        self.last = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.last:
            self.model.stop_training = True


def test_patience_does_not_undo_another_callbacks_stop(tmp_path):
    model = small_model()
    state = TrainingState(tmp_path / "state.npz", 0.0)
    best = BestWeights(
        tmp_path / "weights.npz", {"kernel": model.layers[0].kernel}, state
    )
    # Epoch 3 is the first after the best one: patience would go on.
    callbacks = [Scripted(LOSSES), StopAfter(3), best]
    records = resumable_fit(model, small_dataset, 2, 7, state, callbacks)
    assert [record["val_loss"] for record in records] == LOSSES[:4]


@pytest.mark.parametrize(
    "kill", [Kill(step=5), Kill(epoch=4), Kill(step=11)], ids="abc"
)
def test_a_resumed_run_stops_and_restores_as_the_whole_one(kill, tmp_path):
    with pytest.raises(Killed):
        best_run(tmp_path, kill)
    kernel, best, records = best_run(tmp_path)
    assert [record["val_loss"] for record in records] == LOSSES[:6]
    best.restore()
    np.testing.assert_array_equal(kernel, np.full((3, 2), 2.0))
    # And a run that was stopped does not go on.
    assert len(best_run(tmp_path)[2]) == 6
