"""Which variables change in which epoch, and what frozen groups cost."""

import collections
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf import models
from ulmfit_tf.layers import lstm_kernel
from ulmfit_tf.training import (
    DiscriminativeOptimizer,
    GradualUnfreezing,
    Stage,
    TrainingState,
    fewest_epochs,
    resumable_fit,
    unfreezing_stages,
)

# Groups trained in each of six epochs, for four groups.
TRAINED = {
    "paper": [{3}, {2, 3}, {1, 2, 3}, *[{0, 1, 2, 3}] * 3],
    "script": [{3}, {2, 3}, *[{0, 1, 2, 3}] * 4],
    "chain-thaw": [{3}, {0}, {1}, {2}, *[{0, 1, 2, 3}] * 2],
    "full": [{0, 1, 2, 3}] * 6,
    "last": [{3}] * 6,
}


@pytest.mark.parametrize("method", TRAINED)
def test_stages_open_groups_as_the_method_says(method):
    stages = unfreezing_stages(method, num_groups=4, epochs=6)
    epochs = [set(s.groups) for s in stages for _ in range(s.epochs)]
    assert epochs == TRAINED[method]
    assert all(stage.epochs > 0 for stage in stages)


@pytest.mark.parametrize(
    "method, fewest", [("paper", 5), ("script", 3), ("chain-thaw", 6)]
)
def test_every_method_must_get_to_train_all_groups(method, fewest):
    assert fewest_epochs(method, num_groups=5) == fewest
    stages = unfreezing_stages(method, num_groups=5, epochs=fewest)
    assert stages[-1] == Stage(1, (0, 1, 2, 3, 4))
    with pytest.raises(ValueError, match=f"Train for {fewest} epochs or more"):
        unfreezing_stages(method, num_groups=5, epochs=fewest - 1)


@pytest.mark.parametrize("method", ["full", "last"])
def test_the_others_need_an_epoch(method):
    assert fewest_epochs(method, 5) == 1
    assert len(unfreezing_stages(method, 5, 1)) == 1
    with pytest.raises(ValueError, match="Received: epochs=0"):
        unfreezing_stages(method, 5, 0)


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="paper, script, chain-thaw"):
        unfreezing_stages("Paper", 5, 10)


class Snapshots(keras.callbacks.Callback):
    """Variables at the end of each epoch, and which function ran it."""

    def __init__(self, variables):
        super().__init__()
        self.variables = variables
        self.values, self.functions = [], []

    def take(self):
        self.values.append([v.numpy() for v in self.variables])

    def on_train_begin(self, logs=None):
        self.take()

    def on_epoch_end(self, epoch, logs=None):
        self.take()
        self.functions.append(self.model.train_function)


def make_model():
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Embedding(9, 4)]
    layers += [keras.layers.Dense(4, activation="tanh") for _ in range(2)]
    head = keras.Sequential(
        [keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    )
    inputs = keras.Input((2,), dtype="int32")
    hidden = layers[0](inputs)
    for layer in layers[1:]:
        hidden = layer(hidden)
    model = keras.Model(inputs, head(hidden[:, 0]))
    groups = [*([layer] for layer in layers), [head]]
    optimizers = [keras.optimizers.Adam(0.01) for _ in groups]
    model.compile(DiscriminativeOptimizer(model, groups, optimizers), "mse")
    return model, groups


def make_data():
    x = np.arange(16).reshape(8, 2) % 9
    return x, np.random.default_rng(0).normal(size=(8, 2))


@pytest.mark.parametrize("method", TRAINED)
def test_only_the_open_groups_change(method):
    model, groups = make_model()
    stages = unfreezing_stages(method, len(groups), 6)
    snapshots = [
        Snapshots([v for layer in group for v in layer.trainable_variables])
        for group in groups
    ]
    norm = groups[-1][0].layers[0]
    statistics = Snapshots([norm.moving_mean, norm.moving_variance])
    model.fit(
        *make_data(),
        batch_size=4,
        epochs=6,
        verbose=0,
        callbacks=[
            GradualUnfreezing(groups, stages),
            *snapshots,
            statistics,
        ],
    )

    def changed(taken, epoch):
        pairs = zip(taken.values[epoch], taken.values[epoch + 1], strict=True)
        answers = {bool(np.any(one != other)) for one, other in pairs}
        assert len(answers) == 1
        return answers.pop()

    for epoch, trained in enumerate(TRAINED[method]):
        for index, taken in enumerate(snapshots):
            assert changed(taken, epoch) == (index in trained), (epoch, index)
        # A frozen head's batch norm is in inference mode.
        assert changed(statistics, epoch) == (3 in trained)
        if epoch:
            same = TRAINED[method][epoch - 1] == trained
            functions = statistics.functions
            assert (functions[epoch] is functions[epoch - 1]) == same
    steps = [int(o.iterations) for o in model.optimizer.optimizers]
    assert steps == [
        2 * sum(index in trained for trained in TRAINED[method])
        for index in range(4)
    ]
    # Afterwards nothing is left frozen.
    assert all(layer.trainable for group in groups for layer in group)


def test_unfreezing_goes_by_the_number_of_the_epoch():
    """A run resumed at epoch 2 trains what epoch 2 trains."""
    model, groups = make_model()
    frozen = Snapshots(groups[0][0].trainable_variables)
    thawed = Snapshots(groups[1][0].trainable_variables)
    model.fit(
        *make_data(),
        epochs=3,
        initial_epoch=2,
        verbose=0,
        callbacks=[
            GradualUnfreezing(groups, unfreezing_stages("paper", 4, 6)),
            frozen,
            thawed,
        ],
    )
    np.testing.assert_array_equal(*frozen.values)
    assert np.any(thawed.values[0][0] != thawed.values[1][0])


@pytest.mark.parametrize(
    "trained, lstms_differentiated, embedding_differentiated",
    [
        pytest.param((3,), 0, False, id="head"),
        pytest.param((2, 3), 1, False, id="top_lstm"),
        pytest.param((1, 2, 3), 2, False, id="both_lstms"),
        pytest.param((0, 1, 2, 3), 2, True, id="everything"),
    ],
)
@pytest.mark.skipif(
    bool(tf.config.list_logical_devices("GPU")),
    reason="counts the loops of the CPU kernel",
)
def test_frozen_groups_cost_no_backward_pass(
    trained, lstms_differentiated, embedding_differentiated
):
    model = models.TextClassifier(
        9,
        2,
        models.Architecture(3, 4, 2),
        head_units=3,
        chunk_length=4,
        pooled_length=4,
    )
    model.build()
    groups = model.layer_groups
    optimizers = [keras.optimizers.SGD(0.1) for _ in groups]
    model.compile(
        DiscriminativeOptimizer(model, groups, optimizers, 1.0),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    for index, layers in enumerate(groups):
        for layer in layers:
            layer.trainable = index in trained
    step = tf.function(model.train_step).get_concrete_function(
        (
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, 2), tf.float32),
        )
    )
    counts = collections.Counter(
        operation.type for operation in executed(step.graph)
    )
    # An LSTM loops once forward, and once backward if that is needed, for
    # each part of the batch.
    parts = 1 if lstm_kernel._num_cores() == 1 else 2
    loops = parts * (2 + lstms_differentiated)
    assert counts["StatelessWhile"] == loops
    # Sums the gradient of each word; pooling needs one of its own.
    sums = counts["UnsortedSegmentSum"] - bool(lstms_differentiated)
    assert (sums > 0) == embedding_differentiated


def executed(graph):
    """Operations that a call runs: what results and side effects need."""
    needed = [tensor.op for tensor in graph.outputs]
    needed += graph.control_outputs
    found = set()
    while needed:
        operation = needed.pop()
        if operation in found:
            continue
        found.add(operation)
        needed += [tensor.op for tensor in operation.inputs]
        needed += operation.control_inputs
    return found


def live_graphs():
    gc.collect()
    return sum(
        type(each).__name__ == "FuncGraph" and each.name == "one_step_on_data"
        for each in gc.get_objects()
    )


def test_no_graph_of_a_training_outlives_it(tmp_path):
    """TensorFlow keeps custom gradients, and their graphs, for good."""

    def train(name):
        keras.utils.set_random_seed(0)
        model = models.TextClassifier(
            9, 2, models.Architecture(3, 4, 1), head_units=3, chunk_length=4
        )
        model.build()
        groups = model.layer_groups
        model.compile(
            DiscriminativeOptimizer(
                model, groups, [keras.optimizers.Adam() for _ in groups]
            ),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        )
        ids = np.random.default_rng(0).integers(2, 9, (4, 8))
        data = tf.data.Dataset.from_tensors((ids, np.eye(2)[[0, 1, 0, 1]]))
        stages = unfreezing_stages("paper", len(groups), 3)
        resumable_fit(
            model,
            lambda step: data.repeat(),
            1,
            3,
            TrainingState(tmp_path / name),
            [GradualUnfreezing(groups, stages)],
        )

    keras.backend.clear_session()
    before = live_graphs()
    for name in ("one", "other"):
        train(name)
        keras.backend.clear_session()
        assert live_graphs() == before
