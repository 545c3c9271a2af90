"""The LSTM kernel with other loops and other memory for its results."""

import tensorflow as tf

from benchmarks.ours import lstm_layer
from ulmfit_tf.layers import lstm_kernel


def forward_and_backward(
    batch,
    dtype,
    unroll=1,
    parallel_iterations=None,
    preallocated=False,
    **sizes,
):
    """Returns a function that measures tokens a second.

    The kernel of this process stays changed.

    Args:
        batch: Int.
        dtype: Str, of the kernel's products.
        unroll: Int, timesteps an iteration; it must divide their number.
        parallel_iterations: Optional int, of the loops.
        preallocated: Bool, whether tensors take the place of `TensorArray`s.
        **sizes: See `benchmarks.ours.lstm_layer`.
    """
    changes = {}
    if unroll > 1 or parallel_iterations:
        changes["while_loop"] = _while_loop(unroll, parallel_iterations)
    if preallocated:
        parts = lstm_kernel._part_rows(tf.zeros((batch, 1), dtype))
        changes["TensorArray"] = _preallocated(batch // len(parts))
    lstm_kernel.tf = _Changed(changes)
    return lstm_layer.forward_and_backward(batch, variant=dtype, **sizes)


class _Changed:
    """TensorFlow with other functions in place of some."""

    def __init__(self, changes):
        self._changes = changes

    def __getattr__(self, name):
        return self._changes.get(name) or getattr(tf, name)


def _while_loop(unroll, parallel_iterations):
    def while_loop(condition, body, variables):
        def iteration(*variables):
            for _ in range(unroll):
                variables = body(*variables)
            return variables

        return tf.while_loop(
            condition,
            iteration,
            variables,
            parallel_iterations=parallel_iterations or 10,
        )

    return while_loop


class _Preallocated(tf.experimental.ExtensionType):
    """One tensor, written to where it lies if nothing else holds it."""

    values: tf.Tensor

    def write(self, index, value):
        values = tf.tensor_scatter_nd_update(
            self.values, [[index]], value[None]
        )
        return _Preallocated(values)

    def read(self, index):
        return self.values[index]

    def stack(self):
        return self.values


def _preallocated(rows):
    """Returns what to call for an array of `(width, rows)` tensors."""

    def array(dtype, size, element_shape, clear_after_read=True):
        del clear_after_read
        return _Preallocated(tf.zeros((size, element_shape[0], rows), dtype))

    return array
