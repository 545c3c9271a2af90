"""LSTM over a whole sequence on TensorFlow CPU, with its own backward pass."""

import dataclasses
import os

import tensorflow as tf

# Rows from which on a batch is computed in two parts, side by side, while
# training. One part leaves cores idle between its many small operations; of
# two, one works while the other waits. But a product of fewer rows is less
# efficient, which the float32 product feels sooner.
_ROWS_OF_TWO_PARTS = {tf.bfloat16: 24, tf.float32: 64}
_ROWS_OF_ANY_OTHER = 64


def lstm_sequence(
    inputs,
    initial_hidden,
    initial_cell,
    kernel,
    recurrent_kernel,
    bias,
    mask=None,
    detach_every=None,
    training=True,
):
    """Runs an LSTM over a sequence and differentiates it by hand.

    The equations, the gate order (input, forget, cell, output) and the
    treatment of masked steps (the state is held) are those of
    `keras.layers.LSTM`. What makes it faster:

    - Differentiating the loop automatically accumulates the recurrent
      kernel's gradient, a matrix as large as the kernel, at every step. Here
      the backward loop only propagates the state's gradient and keeps that
      of the gates; both kernels' gradients then are one matrix product each.
    - While training the state is `(units, batch)` inside of the loops, so
      that a step's product has the large matrix on the left, which the
      processor reads as it is, and the small one on the right, which has to
      be repacked. Splitting the gates then copies nothing.
    - While training, two halves of a large batch run in loops of their own
      that do not wait for each other.

    Matrix products run in the dtype of `inputs` (float32 or bfloat16). Gate
    activations and the cell state are float32 in either case, within a call:
    under mixed precision Keras rounds a layer's arguments, and so a state
    that is handed in, to its compute dtype.

    Args:
        inputs: Float tensor `(batch, timesteps, features)`.
        initial_hidden: Float tensor `(batch, units)`.
        initial_cell: Float tensor `(batch, units)`.
        kernel: Float tensor `(features, 4 * units)`.
        recurrent_kernel: Float tensor `(units, 4 * units)`.
        bias: Float tensor `(4 * units,)`.
        mask: Optional bool tensor `(batch, timesteps)`, `True` where valid.
            Padding may lie anywhere, and a row may be all padding.
        detach_every: Optional int. Cuts the gradient of the state every that
            many timesteps, counted from the end of the sequence.
        training: Bool. Without it nothing is kept for the backward pass of
            this function, and TensorFlow's own is used if one is asked for.

    Returns:
        `(outputs, hidden, cell)`: the hidden states `(batch, timesteps,
        units)` in the dtype of `inputs`, and the final hidden and cell states
        `(batch, units)` in float32.
    """
    dtype = inputs.dtype
    arguments = (
        inputs,
        tf.cast(initial_hidden, tf.float32),
        tf.cast(initial_cell, tf.float32),
        tf.cast(kernel, dtype),
        tf.cast(recurrent_kernel, dtype),
        tf.cast(bias, tf.float32),
    )
    if not training:
        return _infer(*arguments, mask)

    @tf.custom_gradient
    def run(*arguments):
        parts = _forward_parts(*arguments, mask)
        outputs, hidden, cell = (
            tf.concat([getattr(part, name) for part in parts], 0)
            for name in ("outputs", "hidden", "cell")
        )

        def gradient(*upstream):
            return _backward(arguments, outputs, parts, upstream, detach_every)

        return (outputs, hidden, cell), gradient

    return run(*arguments)


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some rows of a batch: their results, and what is kept of them.

    Attributes:
        rows: Slice of the batch.
        outputs: `(rows, timesteps, units)`.
        hidden: Final state `(rows, units)`.
        cell: Final state `(rows, units)`.
        mask: `None` or bool `(timesteps, 1, rows)`.
        kept: `TensorArray`s over time: activations of the three sigmoid
            gates `(3 * units, rows)`; of the cell gate; cell states before
            each step and after the last; their hyperbolic tangents, each
            `(units, rows)`.
    """

    rows: slice
    outputs: tf.Tensor
    hidden: tf.Tensor
    cell: tf.Tensor
    mask: tf.Tensor | None
    kept: tuple


def _infer(inputs, hidden, cell, kernel, recurrent, bias, mask):
    """Returns outputs and final states, and keeps nothing.

    With few rows a step's time is that of reading the recurrent kernel. So
    the kernels are used as they lie, with the rows as left factors: to copy
    them in another order takes as long as reading a dozen words. And what
    does not depend on the state is one product over all timesteps.
    """
    features, gates = kernel.shape
    dtype, units = inputs.dtype, gates // 4
    batch, timesteps = tf.shape(inputs)[0], tf.shape(inputs)[1]
    projected = tf.matmul(
        tf.reshape(tf.transpose(inputs, [1, 0, 2]), [-1, features]), kernel
    )
    projected = tf.reshape(projected, [timesteps, batch, gates])
    if mask is not None:
        mask = tf.transpose(mask)[:, :, None]

    def step(time, hidden, cell, outputs):
        sums = tf.cast(tf.matmul(hidden, recurrent), tf.float32)
        sums += tf.cast(projected[time], tf.float32) + bias
        i, f, g, o = tf.split(sums, 4, axis=1)
        new_cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(g)
        new_hidden = tf.cast(tf.sigmoid(o) * tf.tanh(new_cell), dtype)
        if mask is not None:
            new_cell = tf.where(mask[time], new_cell, cell)
            new_hidden = tf.where(mask[time], new_hidden, hidden)
        outputs = outputs.write(time, new_hidden)
        return time + 1, new_hidden, new_cell, outputs

    outputs = tf.TensorArray(dtype, timesteps, element_shape=[None, units])
    _, hidden, cell, outputs = tf.while_loop(
        lambda time, *_: time < timesteps,
        step,
        (0, tf.cast(hidden, dtype), cell, outputs),
    )
    return (
        tf.transpose(outputs.stack(), [1, 0, 2]),
        tf.cast(hidden, tf.float32),
        cell,
    )


def _forward_parts(inputs, hidden, cell, kernel, recurrent, bias, mask):
    """Runs the parts of a batch, returns a list of `_Part`s."""
    dtype = inputs.dtype
    # The bias as two rows, so that it has twice bfloat16's precision.
    high = tf.cast(bias, dtype)
    low = tf.cast(bias - tf.cast(high, tf.float32), dtype)
    weights = tf.concat([kernel, [high, low], recurrent], 0)
    # Laid out, as a product with a transposed factor is far slower on
    # processors without AVX-512.
    weights = tf.transpose(_sigmoids_first(weights))
    parts = []
    for rows in _part_rows(inputs):
        part_inputs = tf.transpose(inputs[rows], [1, 2, 0])
        timesteps, _, batch = tf.unstack(tf.shape(part_inputs))
        ones = tf.ones((timesteps, 2, batch), dtype)
        part_inputs = tf.concat([part_inputs, ones], 1)

        def gate_inputs(time, hidden, part_inputs=part_inputs):
            columns = tf.concat([part_inputs[time], hidden], 0)
            return tf.cast(tf.matmul(weights, columns), tf.float32)

        part_mask = (
            None if mask is None else tf.transpose(mask[rows])[:, None, :]
        )
        *results, kept = _forward_loop(
            gate_inputs,
            timesteps,
            hidden[rows],
            cell[rows],
            dtype,
            part_mask,
        )
        parts.append(_Part(rows, *results, part_mask, kept))
    return parts


def _part_rows(inputs):
    """Returns the rows of each part; the second may have none."""
    batch = inputs.shape[0]
    if batch is None:
        batch = tf.shape(inputs)[0]
    fewest = _ROWS_OF_TWO_PARTS.get(inputs.dtype, _ROWS_OF_ANY_OTHER)
    if _num_cores() == 1 or (isinstance(batch, int) and batch < fewest):
        return [slice(0, batch)]
    first = tf.where(batch < fewest, batch, (batch + 1) // 2)
    return [slice(0, first), slice(first, batch)]


def _num_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _forward_loop(gate_inputs, timesteps, hidden, cell, dtype, mask):
    """Loops over time, and keeps what the backward pass needs.

    Args:
        gate_inputs: Function of the time and the hidden state `(units, rows)`
            to what goes into the gates, float32 `(4 * units, rows)`.
        timesteps: Int tensor.
        hidden: Initial state `(rows, units)`.
        cell: Initial state `(rows, units)`.
        dtype: Dtype of products and outputs.
        mask: `None` or bool `(timesteps, 1, rows)`.

    Returns:
        `(outputs, hidden, cell, kept)`, see `_Part`.
    """
    units = hidden.shape[1]
    hidden, cell = tf.transpose(hidden), tf.transpose(cell)

    def array(element_dtype, width, size=timesteps):
        return tf.TensorArray(
            element_dtype,
            size=size,
            element_shape=[width, None],
            clear_after_read=False,
        )

    def step(time, hidden, cell, outputs, *kept):
        sums = tf.split(gate_inputs(time, hidden), [3 * units, units])
        sigmoids, candidate = tf.sigmoid(sums[0]), tf.tanh(sums[1])
        i, f, o = tf.split(sigmoids, 3)
        new_cell = f * cell + i * candidate
        tanh_cell = tf.tanh(new_cell)
        new_hidden = tf.cast(o * tanh_cell, dtype)
        if mask is not None:
            new_cell = tf.where(mask[time], new_cell, cell)
            new_hidden = tf.where(mask[time], new_hidden, hidden)
        values = (sigmoids, candidate, new_cell, tanh_cell)
        times = (time, time, time + 1, time)
        kept = [
            written.write(index, value)
            for written, index, value in zip(kept, times, values, strict=True)
        ]
        outputs = outputs.write(time, new_hidden)
        return (time + 1, new_hidden, new_cell, outputs, *kept)

    kept = (
        array(tf.float32, 3 * units),
        array(tf.float32, units),
        array(tf.float32, units, timesteps + 1).write(0, cell),
        array(tf.float32, units),
    )
    _, hidden, cell, outputs, *kept = tf.while_loop(
        lambda time, *_: time < timesteps,
        step,
        (0, tf.cast(hidden, dtype), cell, array(dtype, units), *kept),
    )
    return (
        tf.transpose(outputs.stack(), [2, 0, 1]),
        tf.cast(tf.transpose(hidden), tf.float32),
        tf.transpose(cell),
        tuple(kept),
    )


def _backward(arguments, outputs, parts, upstream, detach_every):
    """Returns the gradients of `lstm_sequence`'s first six arguments."""
    inputs, initial_hidden, _, kernel, recurrent, _ = arguments
    features, units = inputs.shape[2], recurrent.shape[0]
    weights = _sigmoids_first(recurrent)
    results = [
        _backward_part(
            part, weights, [grad[part.rows] for grad in upstream], detach_every
        )
        for part in parts
    ]
    d_gates, d_hidden, d_cell = (
        tf.concat(pieces, 0) for pieces in list(zip(*results, strict=True))[:3]
    )
    d_bias = tf.add_n([result[3] for result in results])
    d_gates = tf.reshape(d_gates, [-1, 4 * units])
    previous = tf.concat(
        [tf.cast(initial_hidden, inputs.dtype)[:, None], outputs[:, :-1]], 1
    )

    def kernel_gradient(factor, width):
        factor = tf.reshape(factor, [-1, width])
        return _keras_order(tf.matmul(factor, d_gates, transpose_a=True))

    d_inputs = tf.matmul(d_gates, _sigmoids_first(kernel), transpose_b=True)
    return (
        tf.reshape(d_inputs, tf.shape(inputs)),
        d_hidden,
        d_cell,
        kernel_gradient(inputs, features),
        kernel_gradient(previous, units),
        _keras_order(d_bias[None])[0],
    )


def _backward_part(part, weights, upstream, detach_every):
    """Loops back over time.

    Args:
        part: `_Part`.
        weights: `(units, 4 * units)`, the recurrent kernel.
        upstream: Gradients of outputs and final states, rows first.
        detach_every: See `lstm_sequence`.

    Returns:
        Gradients of what goes into the gates `(rows, timesteps, 4 * units)`,
        of the initial states `(rows, units)` and of the bias `(4 * units,)`.
    """
    sigmoids, candidates, cells, tanh_cells = part.kept
    mask, dtype, units = part.mask, weights.dtype, weights.shape[0]
    d_outputs = tf.transpose(upstream[0], [1, 2, 0])
    timesteps = tf.shape(d_outputs)[0]

    def step(time, d_hidden, d_cell, d_bias, d_gates):
        d_hidden += tf.cast(d_outputs[time], tf.float32)
        # A masked step passes the state on: only its valid rows go through
        # the gates, the others keep their gradient.
        through_hidden, through_cell = d_hidden, d_cell
        if mask is not None:
            valid = tf.cast(mask[time], tf.float32)
            through_hidden, through_cell = d_hidden * valid, d_cell * valid
        sigmoid, candidate = sigmoids.read(time), candidates.read(time)
        tanh_cell = tanh_cells.read(time)
        i, f, o = tf.split(sigmoid, 3)
        total_cell = through_cell + tf.raw_ops.TanhGrad(
            y=tanh_cell, dy=through_hidden * o
        )
        d_sums = [
            tf.raw_ops.SigmoidGrad(y=y, dy=dy)
            for y, dy in (
                (i, total_cell * candidate),
                (f, total_cell * cells.read(time)),
                (o, through_hidden * tanh_cell),
            )
        ]
        d_sums.append(tf.raw_ops.TanhGrad(y=candidate, dy=total_cell * i))
        d_bias += tf.concat([tf.reduce_sum(part, 1) for part in d_sums], 0)
        d_sums = tf.concat([tf.cast(part, dtype) for part in d_sums], 0)
        new_d_hidden = tf.cast(tf.matmul(weights, d_sums), tf.float32)
        new_d_cell = total_cell * f
        if mask is not None:
            new_d_hidden += d_hidden - through_hidden
            new_d_cell += d_cell - through_cell
        if detach_every is not None:
            is_boundary = (timesteps - time) % detach_every == 0
            keep = tf.where(is_boundary & (time > 0), 0.0, 1.0)
            new_d_hidden *= keep
            new_d_cell *= keep
        d_gates = d_gates.write(time, d_sums)
        return time - 1, new_d_hidden, new_d_cell, d_bias, d_gates

    _, d_hidden, d_cell, d_bias, d_gates = tf.while_loop(
        lambda time, *_: time >= 0,
        step,
        (
            timesteps - 1,
            tf.transpose(upstream[1]),
            tf.transpose(upstream[2]),
            tf.zeros(4 * units),
            tf.TensorArray(
                dtype, size=timesteps, element_shape=[4 * units, None]
            ),
        ),
    )
    return (
        tf.transpose(d_gates.stack(), [2, 0, 1]),
        tf.transpose(d_hidden),
        tf.transpose(d_cell),
        d_bias,
    )


def _sigmoids_first(matrix):
    """Reorders the gates to input, forget, output, cell."""
    i, f, g, o = tf.split(matrix, 4, axis=1)
    return tf.concat([i, f, o, g], 1)


def _keras_order(matrix):
    """Undoes `_sigmoids_first`."""
    i, f, o, g = tf.split(matrix, 4, axis=1)
    return tf.concat([i, f, g, o], 1)
