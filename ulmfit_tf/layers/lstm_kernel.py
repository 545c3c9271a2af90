"""LSTM over a whole sequence on TensorFlow CPU, with its own backward pass."""

import tensorflow as tf


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
    `keras.layers.LSTM`. Differentiating the loop automatically accumulates
    the recurrent kernel's gradient, a matrix as large as the kernel, at every
    step. Here the backward loop only propagates the state's gradient and
    keeps that of the gates; both kernels' gradients then are one matrix
    product each.

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
    # Time-major and merged with the batch, so that whatever does not depend
    # on the state is one matrix product over all timesteps.
    inputs = tf.transpose(inputs, [1, 0, 2])
    if mask is not None:
        mask = tf.transpose(mask)[:, :, None]

    @tf.custom_gradient
    def run(inputs, initial_hidden, initial_cell, kernel, recurrent, bias):
        outputs, hidden, cell, gates, cells = _forward(
            inputs, initial_hidden, initial_cell, kernel, recurrent, bias, mask
        )

        def gradient(d_outputs, d_hidden, d_cell):
            return _backward(
                (inputs, initial_hidden, initial_cell, kernel, recurrent),
                (outputs, gates, cells),
                (d_outputs, d_hidden, d_cell),
                mask,
                detach_every,
            )

        return (outputs, hidden, cell), gradient

    def run_once(*arguments):
        return _forward(*arguments, mask, keep=False)[:3]

    outputs, hidden, cell = (run if training else run_once)(
        inputs,
        tf.cast(initial_hidden, tf.float32),
        tf.cast(initial_cell, tf.float32),
        tf.cast(kernel, dtype),
        tf.cast(recurrent_kernel, dtype),
        tf.cast(bias, tf.float32),
    )
    return tf.transpose(outputs, [1, 0, 2]), hidden, cell


def _forward(inputs, hidden, cell, kernel, recurrent, bias, mask, keep=True):
    """Returns outputs, final states, gate activations and cell states.

    All sequences are time-major. Gates and cells are kept for the backward
    pass and `None` without `keep`.
    """
    dtype = inputs.dtype
    timesteps, batch = tf.shape(inputs)[0], tf.shape(inputs)[1]
    features, units = inputs.shape[2], recurrent.shape[0]
    projected = tf.reshape(
        tf.matmul(tf.reshape(inputs, [-1, features]), kernel),
        [timesteps, batch, 4 * units],
    )

    def array(element_dtype, width):
        return tf.TensorArray(
            element_dtype,
            size=timesteps,
            element_shape=[None, width],
            clear_after_read=False,
        )

    def step(time, hidden, cell, outputs, *kept):
        gate_input = tf.cast(tf.matmul(hidden, recurrent), tf.float32)
        gate_input += tf.cast(projected[time], tf.float32) + bias
        i, f, g, o = tf.split(gate_input, 4, axis=1)
        i, f, o = tf.sigmoid(i), tf.sigmoid(f), tf.sigmoid(o)
        g = tf.tanh(g)
        new_cell = f * cell + i * g
        new_hidden = tf.cast(o * tf.tanh(new_cell), dtype)
        if mask is not None:
            new_cell = tf.where(mask[time], new_cell, cell)
            new_hidden = tf.where(mask[time], new_hidden, hidden)
        if keep:
            gates, cells = kept
            kept = (
                gates.write(time, tf.cast(tf.concat([i, f, g, o], 1), dtype)),
                cells.write(time, new_cell),
            )
        outputs = outputs.write(time, new_hidden)
        return (time + 1, new_hidden, new_cell, outputs, *kept)

    kept = (array(dtype, 4 * units), array(tf.float32, units)) if keep else ()
    _, hidden, cell, outputs, *kept = tf.while_loop(
        lambda time, *_: time < timesteps,
        step,
        (0, tf.cast(hidden, dtype), cell, array(dtype, units), *kept),
    )
    gates, cells = [a.stack() for a in kept] if keep else (None, None)
    return outputs.stack(), tf.cast(hidden, tf.float32), cell, gates, cells


def _backward(arguments, saved, upstream, mask, detach_every):
    """Returns the gradients of `lstm_sequence`'s first six arguments."""
    inputs, initial_hidden, initial_cell, kernel, recurrent = arguments
    outputs, gates, cells = saved
    d_outputs, d_hidden, d_cell = upstream
    dtype = inputs.dtype
    timesteps, batch = tf.shape(inputs)[0], tf.shape(inputs)[1]
    units = recurrent.shape[0]
    previous_cells = tf.concat([initial_cell[None], cells[:-1]], 0)

    def step(time, d_hidden, d_cell, d_gates):
        d_hidden += tf.cast(d_outputs[time], tf.float32)
        i, f, g, o = tf.split(tf.cast(gates[time], tf.float32), 4, axis=1)
        # A masked step passes the state on: only its valid rows go through
        # the gates, the others keep their gradient.
        through_hidden, through_cell = d_hidden, d_cell
        if mask is not None:
            valid = tf.cast(mask[time], tf.float32)
            through_hidden, through_cell = d_hidden * valid, d_cell * valid
        tanh_cell = tf.tanh(cells[time])
        total_cell = through_cell + through_hidden * o * (1 - tanh_cell**2)
        d_gate_input = tf.concat(
            [
                total_cell * g * i * (1 - i),
                total_cell * previous_cells[time] * f * (1 - f),
                total_cell * i * (1 - g**2),
                through_hidden * tanh_cell * o * (1 - o),
            ],
            axis=1,
        )
        d_gate_input = tf.cast(d_gate_input, dtype)
        new_d_hidden = tf.cast(
            tf.matmul(d_gate_input, recurrent, transpose_b=True), tf.float32
        )
        new_d_cell = total_cell * f
        if mask is not None:
            new_d_hidden += d_hidden - through_hidden
            new_d_cell += d_cell - through_cell
        if detach_every is not None:
            is_boundary = (timesteps - time) % detach_every == 0
            keep = tf.where(is_boundary & (time > 0), 0.0, 1.0)
            new_d_hidden *= keep
            new_d_cell *= keep
        return (
            time - 1,
            new_d_hidden,
            new_d_cell,
            d_gates.write(time, d_gate_input),
        )

    _, d_hidden, d_cell, d_gates = tf.while_loop(
        lambda time, *_: time >= 0,
        step,
        (
            timesteps - 1,
            d_hidden,
            d_cell,
            tf.TensorArray(
                dtype, size=timesteps, element_shape=[None, 4 * units]
            ),
        ),
    )
    d_gates = tf.reshape(d_gates.stack(), [-1, 4 * units])
    previous_hidden = tf.concat(
        [tf.cast(initial_hidden, dtype)[None], outputs[:-1]], 0
    )
    d_inputs = tf.matmul(d_gates, kernel, transpose_b=True)
    return (
        tf.reshape(d_inputs, [timesteps, batch, inputs.shape[2]]),
        d_hidden,
        d_cell,
        tf.matmul(
            tf.reshape(inputs, [-1, inputs.shape[2]]),
            d_gates,
            transpose_a=True,
        ),
        tf.matmul(
            tf.reshape(previous_hidden, [-1, units]),
            d_gates,
            transpose_a=True,
        ),
        tf.reduce_sum(tf.cast(d_gates, tf.float32), 0),
    )
