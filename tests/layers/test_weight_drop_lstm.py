"""DropConnect, chunks and masks of `WeightDropLSTM`, in both of its loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.layers import WeightDropLSTM
from ulmfit_tf.layers.lstm_kernel import lstm_sequence

BATCH, FEATURES, UNITS = 3, 2, 4
both_loops = pytest.mark.parametrize(
    "use_cpu_kernel",
    [pytest.param(True, id="kernel"), pytest.param(False, id="keras_loop")],
)


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(11)


def make_layer(units=UNITS, **kwargs):
    layer = WeightDropLSTM(units, **kwargs)
    layer.build((None, None, FEATURES))
    rng = np.random.default_rng(units)
    for variable in layer.cell.trainable_variables:
        variable.assign(rng.normal(0, 0.6, variable.shape))
    return layer


def make_inputs(timesteps, seed=1, batch=BATCH):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, timesteps, FEATURES)).astype("float32")


def make_state(units=UNITS, batch=BATCH):
    rng = np.random.default_rng(2)
    return [
        tf.constant(rng.normal(0, 0.5, (batch, units)).astype("float32"))
        for _ in range(2)
    ]


def valid_loss(outputs, hidden, cell, mask):
    """A loss that reads the final states and all outputs but padded ones."""
    weights = tf.cast(tf.range(1, tf.size(outputs) + 1), tf.float32)
    weights = tf.sin(tf.reshape(weights, tf.shape(outputs)))
    valid = tf.cast(mask, tf.float32)[:, :, None]
    return (
        tf.reduce_sum(weights * valid * outputs)
        + 2 * tf.reduce_sum(hidden**2)
        + 3 * tf.reduce_sum(cell**2)
    )


def results_and_gradients(layer, inputs, mask, state):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs, hidden, cell = layer(
            inputs, initial_state=state, mask=mask, training=True
        )
        loss = valid_loss(outputs, hidden, cell, mask)
    sources = [inputs, *(v.value for v in layer.trainable_variables)]
    valid = tf.cast(mask, tf.float32)[:, :, None]
    return (
        [outputs * valid, hidden, cell],
        tape.gradient(loss, sources),
    )


def assert_all_close(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=5e-6)


@both_loops
def test_without_dropout_it_is_the_lstm_of_keras(use_cpu_kernel):
    layer = make_layer(use_cpu_kernel=use_cpu_kernel)
    theirs = keras.layers.LSTM(
        UNITS, return_sequences=True, return_state=True, use_cudnn=False
    )
    theirs.build((None, None, FEATURES))
    theirs.set_weights(layer.cell.get_weights())
    inputs, mask = make_inputs(5), np.ones((BATCH, 5), "bool")
    mask[0, 3:] = mask[1, 2] = False
    assert_all_close(layer(inputs, mask=mask), theirs(inputs, mask=mask))


def test_the_forget_bias_starts_at_zero():
    layer = WeightDropLSTM(UNITS)
    layer.build((None, None, FEATURES))
    np.testing.assert_array_equal(layer.cell.bias, np.zeros(4 * UNITS))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(
    "timesteps, chunk_length",
    [
        pytest.param(5, None, id="no_chunks"),
        pytest.param(6, 3, id="two_chunks"),
        pytest.param(7, 3, id="first_chunk_short"),
        pytest.param(3, 3, id="one_chunk"),
        pytest.param(2, 3, id="shorter_than_a_chunk"),
    ],
)
def test_both_loops_agree(timesteps, chunk_length, dynamic):
    mask = np.ones((BATCH, timesteps), "bool")
    mask[0, -1] = False
    # Empty in its first chunk, or altogether.
    mask[1, : chunk_length or timesteps] = False
    signature = [
        tf.TensorSpec((None, None, FEATURES)),
        tf.TensorSpec((None, None), tf.bool),
    ]
    answers = []
    for use_cpu_kernel in (True, False):
        layer = make_layer(
            chunk_length=chunk_length, use_cpu_kernel=use_cpu_kernel
        )

        def run(inputs, mask, layer=layer):
            return results_and_gradients(layer, inputs, mask, make_state())

        if dynamic:
            run = tf.function(run, input_signature=signature)
        results, gradients = run(
            tf.constant(make_inputs(timesteps)), tf.constant(mask)
        )
        answers.append([*results, *gradients])
    assert_all_close(*answers)


@pytest.mark.parametrize("dtype", ["mixed_float16", "float16", "float64"])
def test_other_formats_train_as_float32_does(dtype):
    inputs, state = make_inputs(7), make_state()
    mask = np.ones((BATCH, 7), "bool")
    results = []
    for each in ("float32", dtype):
        layer = make_layer(use_cpu_kernel=True, dtype=each)
        with tf.GradientTape() as tape:
            outputs = layer(
                inputs, initial_state=state, mask=mask, training=True
            )
            outputs = [tf.cast(output, tf.float32) for output in outputs]
            loss = valid_loss(*outputs, mask)
        results.append(
            [*outputs, *tape.gradient(loss, layer.trainable_weights)]
        )
    for one, other in zip(*results, strict=True):
        scale = np.abs(one).max()
        np.testing.assert_allclose(one, other, atol=0.01 * scale)


@both_loops
def test_an_empty_row_keeps_its_state(use_cpu_kernel):
    layer = make_layer(use_cpu_kernel=use_cpu_kernel)
    mask = np.ones((BATCH, 4), "bool")
    mask[1] = False
    state = make_state()
    _, *final = layer(make_inputs(4), initial_state=state, mask=mask)
    for before, after in zip(state, final, strict=True):
        np.testing.assert_allclose(after[1], before[1], rtol=1e-6)
        assert np.abs(after[0] - before[0]).max() > 0.01


@both_loops
def test_one_mask_a_pass_drops_single_recurrent_weights(use_cpu_kernel):
    """The gradient shows which weights were kept; nothing else may differ."""
    # A multiple of 1 / 256, as the rate is rounded to one.
    units, rate = 8, 0.375
    layer = make_layer(
        units, weight_dropout=rate, use_cpu_kernel=use_cpu_kernel
    )
    inputs, state = tf.constant(make_inputs(4)), make_state(units)
    everywhere = tf.ones((BATCH, 4), tf.bool)
    raw = layer.cell.recurrent_kernel.value
    before = raw.numpy()
    with tf.GradientTape() as tape:
        actual = layer(inputs, initial_state=state, training=True)
        loss = valid_loss(*actual, everywhere)
    gradient = tape.gradient(loss, raw).numpy()
    kept = gradient != 0
    # Dropped in every gate's quarter, by about the rate: 64 weights each.
    for quarter in np.split(kept, 4, axis=1):
        assert 0.4 < quarter.mean() < 0.8
        # Single weights, not whole rows or columns.
        assert len(np.unique(quarter, axis=0)) > 2
        assert len(np.unique(quarter, axis=1)) > 2
    dropped = tf.constant(np.where(kept, before / (1 - rate), 0))
    with tf.GradientTape() as tape:
        tape.watch(dropped)
        expected = lstm_sequence(
            inputs, *state, layer.cell.kernel, dropped, layer.cell.bias
        )
        loss = valid_loss(*expected, everywhere)
    assert_all_close(actual, expected)
    np.testing.assert_allclose(
        gradient,
        tape.gradient(loss, dropped) * kept / (1 - rate),
        rtol=2e-5,
        atol=1e-5,
    )
    np.testing.assert_array_equal(raw.numpy(), before)


@both_loops
def test_weights_are_dropped_anew_each_pass_and_only_in_training(
    use_cpu_kernel,
):
    layer = make_layer(weight_dropout=0.5, use_cpu_kernel=use_cpu_kernel)
    plain = make_layer(use_cpu_kernel=use_cpu_kernel)
    inputs = make_inputs(4)
    first, second = (layer(inputs, training=True)[0] for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(layer(inputs)[0], plain(inputs)[0])


def test_the_input_kernel_is_never_dropped():
    layer = make_layer(weight_dropout=0.5)
    layer.cell.recurrent_kernel.assign(tf.zeros((UNITS, 4 * UNITS)))
    inputs = make_inputs(4)
    np.testing.assert_allclose(
        layer(inputs, training=True)[0], layer(inputs)[0], rtol=1e-5
    )


def test_training_moves_the_raw_kernel_by_its_gradient_alone():
    layer = make_layer(8, weight_dropout=0.4)
    inputs = keras.Input((None, FEATURES))
    model = keras.Model(inputs, layer(inputs)[1])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = layer.cell.recurrent_kernel.numpy()
    seeds = layer.weight_seed_generator.state.numpy()
    model.fit(make_inputs(4), np.ones((BATCH, 8)), batch_size=BATCH, verbose=0)
    change = layer.cell.recurrent_kernel.numpy() - before
    # The same mask again: dropped weights have no gradient.
    layer.weight_seed_generator.state.assign(seeds)
    layer.cell.recurrent_kernel.assign(before)
    kept = layer.dropped_kernel(training=True).numpy() != 0
    np.testing.assert_array_equal(change != 0, kept)
    assert 0.4 < kept.mean() < 0.8
    assert np.abs(change).max() < 0.5 * np.abs(before).max()
