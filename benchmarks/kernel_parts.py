"""One part of a batch or two in the LSTM kernel's training, in turn.

python -m benchmarks.kernel_parts --rows 16 24 32 64 --units 512
"""

import argparse
import json
import time
from unittest import mock

import numpy as np
import tensorflow as tf

from ulmfit_tf.layers import lstm_kernel


def main(argv=None):
    """Prints the milliseconds of forward and backward pass, medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel_parts")
    add = parser.add_argument
    add("--rows", type=int, nargs="+", default=[16, 24, 32, 64])
    add("--timesteps", type=int, default=70)
    add("--units", type=int, default=512, help="of the layer and its inputs")
    add("--repeats", type=int, default=8)
    arguments = parser.parse_args(argv)
    for dtype in (tf.bfloat16, tf.float32):
        for rows in arguments.rows:
            shape = (rows, arguments.timesteps, arguments.units)
            medians = _compare(shape, dtype, arguments.repeats)
            print(
                json.dumps({"rows": rows, "dtype": dtype.name, **medians}),
                flush=True,
            )


def _compare(shape, dtype, repeats):
    # Two parts if there is a row for each.
    steps = {
        "one part": _step(shape, dtype, fewest=shape[0] + 1),
        "two parts": _step(shape, dtype, fewest=2),
    }
    times = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    return {name: round(1e3 * np.median(t), 1) for name, t in times.items()}


def _step(shape, dtype, fewest):
    units = shape[2]
    inputs = tf.cast(tf.random.normal(shape), dtype)
    state = tf.zeros((shape[0], units))
    kernel = tf.Variable(tf.random.normal((units, 4 * units), stddev=0.03))
    recurrent = tf.Variable(tf.random.normal((units, 4 * units), stddev=0.03))
    bias = tf.Variable(tf.zeros(4 * units))

    @tf.function
    def gradients(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, _, _ = lstm_kernel.lstm_sequence(
                inputs, state, state, kernel, recurrent, bias
            )
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32))
        return tape.gradient(loss, [inputs, kernel, recurrent, bias])

    # Both are read while the function is traced. On one core the kernel
    # would trace one part in any case.
    with (
        mock.patch.object(lstm_kernel, "_ROWS_OF_TWO_PARTS", {dtype: fewest}),
        mock.patch.object(lstm_kernel, "_num_cores", lambda: 2),
    ):
        traced = gradients.get_concrete_function(inputs)
    traced(inputs)
    return lambda: [each.numpy() for each in traced(inputs)]


if __name__ == "__main__":
    main()
