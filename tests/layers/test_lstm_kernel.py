"""The LSTM kernel against NumPy, automatic differentiation, differences."""

import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.layers import lstm_kernel
from ulmfit_tf.layers.lstm_kernel import lstm_sequence

BATCH, TIMESTEPS, FEATURES, UNITS = 3, 5, 2, 4
NAMES = ("inputs", "hidden", "cell", "kernel", "recurrent", "bias")
MASKS = {
    "unpadded": None,
    "right": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]],
    "left": [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]],
    "middle": [[1, 0, 0, 1, 1], [1, 1, 1, 0, 1], [0, 1, 0, 1, 0]],
    "empty_row": [[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]],
}
masks = pytest.mark.parametrize("padding", MASKS)


def make_arguments(timesteps=TIMESTEPS, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (
        (BATCH, timesteps, FEATURES),
        (BATCH, UNITS),
        (BATCH, UNITS),
        (FEATURES, 4 * UNITS),
        (UNITS, 4 * UNITS),
        (4 * UNITS,),
    )
    return [rng.normal(0, 0.7, shape).astype("float32") for shape in shapes]


def make_mask(padding):
    mask = MASKS[padding]
    return None if mask is None else np.array(mask, "bool")


def loss_weights(timesteps=TIMESTEPS):
    """Weights under which every output matters, and differently."""
    rng = np.random.default_rng(7)
    shapes = ((BATCH, timesteps, UNITS), (BATCH, UNITS), (BATCH, UNITS))
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def numpy_lstm(inputs, hidden, cell, kernel, recurrent, bias, mask=None):
    outputs = []
    for time in range(inputs.shape[1]):
        gates = inputs[:, time] @ kernel + hidden @ recurrent + bias
        i, f, g, o = np.split(gates, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        new_cell = f * cell + i * np.tanh(g)
        new_hidden = o * np.tanh(new_cell)
        if mask is not None:
            valid = mask[:, time, None]
            new_cell = np.where(valid, new_cell, cell)
            new_hidden = np.where(valid, new_hidden, hidden)
        hidden, cell = new_hidden, new_cell
        outputs.append(hidden)
    return np.stack(outputs, 1), hidden, cell


def naive_lstm(
    inputs, hidden, cell, kernel, recurrent, bias, mask=None, cuts=()
):
    """Unrolled, for automatic differentiation; detached before `cuts`."""
    outputs = []
    for time in range(inputs.shape[1]):
        if time in cuts:
            hidden, cell = tf.stop_gradient(hidden), tf.stop_gradient(cell)
        gates = inputs[:, time] @ kernel + hidden @ recurrent + bias
        i, f, g, o = tf.split(gates, 4, axis=1)
        new_cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(g)
        new_hidden = tf.sigmoid(o) * tf.tanh(new_cell)
        if mask is not None:
            valid = tf.constant(mask[:, time, None])
            new_cell = tf.where(valid, new_cell, cell)
            new_hidden = tf.where(valid, new_hidden, hidden)
        hidden, cell = new_hidden, new_cell
        outputs.append(hidden)
    return tf.stack(outputs, 1), hidden, cell


def gradients(function, arguments, **kwargs):
    """Gradients of one loss through outputs, final hidden and final cell."""
    arguments = [tf.constant(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        results = function(*arguments, **kwargs)
        loss = sum(
            tf.reduce_sum(tf.cast(result, tf.float32) * weights)
            for result, weights in zip(
                results, loss_weights(arguments[0].shape[1]), strict=True
            )
        )
    return [gradient.numpy() for gradient in tape.gradient(loss, arguments)]


def assert_all_close(actual, expected, rtol=1e-5, atol=2e-6):
    for name, one, other in zip(NAMES, actual, expected, strict=False):
        np.testing.assert_allclose(
            one, other, rtol=rtol, atol=atol, err_msg=name
        )


@pytest.fixture(params=["one part", "two parts"])
def parts(request, monkeypatch):
    """The small batches of these tests in one part, or in two."""
    fewest = BATCH + (request.param == "one part")
    monkeypatch.setattr(
        lstm_kernel,
        "_ROWS_OF_TWO_PARTS",
        {tf.float32: fewest, tf.bfloat16: fewest},
    )
    # On one core there would be one in any case.
    monkeypatch.setattr(lstm_kernel, "_num_cores", lambda: 2)


@masks
@pytest.mark.parametrize("training", [True, False])
def test_forward_is_the_textbook_lstm(padding, training, parts):
    arguments, mask = make_arguments(), make_mask(padding)
    actual = lstm_sequence(
        *arguments_of(arguments), mask=mask_of(mask), training=training
    )
    expected = numpy_lstm(*(a.astype("float64") for a in arguments), mask)
    assert_all_close(actual, expected)


def arguments_of(arrays):
    return [tf.constant(array) for array in arrays]


def mask_of(mask):
    return None if mask is None else tf.constant(mask)


@masks
def test_gradients_equal_those_of_automatic_differentiation(padding, parts):
    arguments, mask = make_arguments(), make_mask(padding)
    actual = gradients(lstm_sequence, arguments, mask=mask_of(mask))
    expected = gradients(naive_lstm, arguments, mask=mask)
    assert_all_close(actual, expected)
    assert all(np.abs(gradient).max() > 0.01 for gradient in expected)


def test_gradients_equal_finite_differences():
    arguments, mask = make_arguments(), make_mask("middle")
    actual = gradients(lstm_sequence, arguments, mask=mask_of(mask))
    exact = [argument.astype("float64") for argument in arguments]

    def loss():
        results = numpy_lstm(*exact, mask)
        return sum(
            (r * w).sum() for r, w in zip(results, loss_weights(), strict=True)
        )

    rng = np.random.default_rng(3)
    for name, argument, gradient in zip(NAMES, exact, actual, strict=True):
        for _ in range(5):
            entry = tuple(rng.integers(argument.shape))
            value, losses = argument[entry], []
            for change in (1e-5, -1e-5):
                argument[entry] = value + change
                losses.append(loss())
            argument[entry] = value
            np.testing.assert_allclose(
                gradient[entry],
                (losses[0] - losses[1]) / 2e-5,
                rtol=1e-4,
                atol=2e-6,
                err_msg=f"{name}{entry}",
            )


@pytest.mark.parametrize(
    "timesteps, length, cuts",
    [
        pytest.param(6, 3, (3,), id="two_chunks"),
        pytest.param(6, 2, (2, 4), id="three_chunks"),
        pytest.param(7, 3, (1, 4), id="first_chunk_short"),
        pytest.param(2, 3, (), id="shorter_than_a_chunk"),
        pytest.param(3, 1, (1, 2), id="every_step"),
    ],
)
def test_detaching_equals_chunk_by_chunk_computation(timesteps, length, cuts):
    arguments = make_arguments(timesteps)
    mask = np.random.default_rng(5).random((BATCH, timesteps)) < 0.8
    kwargs = {"mask": mask_of(mask), "detach_every": length}
    actual = gradients(lstm_sequence, arguments, **kwargs)
    expected = gradients(naive_lstm, arguments, mask=mask, cuts=cuts)
    assert_all_close(actual, expected)
    attached = gradients(lstm_sequence, arguments, mask=mask_of(mask))
    differs = np.abs(attached[4] - actual[4]).max() > 1e-3
    assert differs == bool(cuts)
    assert_all_close(
        lstm_sequence(*arguments_of(arguments), **kwargs),
        numpy_lstm(*arguments, mask),
    )


def test_bfloat16_products_stay_close_and_states_are_float32():
    arguments, mask = make_arguments(), make_mask("middle")
    low = [tf.cast(arguments[0], tf.bfloat16), *arguments_of(arguments[1:])]
    outputs, hidden, cell = lstm_sequence(*low, mask=mask_of(mask))
    assert outputs.dtype == tf.bfloat16
    assert hidden.dtype == cell.dtype == tf.float32
    exact = numpy_lstm(*arguments, mask)
    assert_all_close(
        [tf.cast(outputs, tf.float32), hidden, cell], exact, 0, atol=0.03
    )

    def in_bfloat16(inputs, *others, **kwargs):
        inputs = tf.cast(inputs, tf.bfloat16)
        return lstm_sequence(inputs, *others, **kwargs)

    actual = gradients(in_bfloat16, arguments, mask=mask_of(mask))
    expected = gradients(naive_lstm, arguments, mask=mask)
    for name, one, other in zip(NAMES, actual, expected, strict=True):
        assert one.dtype == np.float32
        error = np.linalg.norm(one - other) / np.linalg.norm(other)
        assert error < 0.03, name


def test_one_trace_serves_every_length(parts):
    shapes = [(None, None, FEATURES), (None, UNITS), (None, UNITS)]
    signature = [tf.TensorSpec(shape) for shape in shapes]
    signature.append(tf.TensorSpec((None, None), tf.bool))
    weights = arguments_of(make_arguments()[3:])
    traces = []

    @tf.function(input_signature=signature)
    def run(inputs, hidden, cell, mask):
        traces.append(1)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            results = lstm_sequence(inputs, hidden, cell, *weights, mask=mask)
            loss = sum(tf.reduce_sum(result**2) for result in results)
        return results, tape.gradient(loss, weights)

    for timesteps in (1, 4, 5):
        arguments = make_arguments(timesteps)[:3]
        mask = np.ones((BATCH, timesteps), "bool")
        mask[1, timesteps // 2 :] = False
        results, actual = run(*arguments_of(arguments), tf.constant(mask))
        arrays = [weight.numpy() for weight in weights]
        assert_all_close(results, numpy_lstm(*arguments, *arrays, mask))
        with tf.GradientTape() as tape:
            tape.watch(weights)
            naive = naive_lstm(*arguments, *weights, mask=mask)
            loss = sum(tf.reduce_sum(result**2) for result in naive)
        for one, other in zip(
            actual, tape.gradient(loss, weights), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)
    assert len(traces) == 1
