"""Weights of a served model, as they are kept on disk."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

# What an answer may differ by from the trainer's. The smaller types change
# the model itself; their bounds only catch an export that went wrong.
TOLERANCES = {"float32": 1e-5, "bfloat16": 0.05, "float16": 0.02, "int8": 0.2}

# Turned into float32 at each request.
_RESTORED = ("float16", "int8")


class StoredWeights(tf.Module):
    """A model's weights in one of four precisions.

    `float32` and `bfloat16` are the model's own variables, and what the
    encoder computes its products in; the head is float32 in either case.
    `float16` and `int8` take a half and a quarter of the space and are
    turned into float32 at each request, which all computation stays in. An
    `int8` matrix has one float32 scale for each row or column, whichever
    there are more of; vectors stay float32.

    Only raw variables are tracked: a Keras variable held by a module exports
    a second handle, which TF Serving does not restore.

    Args:
        variables: List of `keras.Variable`.
        precision: `"float32"`, `"bfloat16"`, `"float16"` or `"int8"`.

    Raises:
        ValueError: If `precision` is another one.
    """

    def __init__(self, variables, precision="float32"):
        super().__init__(name="stored_weights")
        if precision not in TOLERANCES:
            raise ValueError(
                f"`precision` must be one of {sorted(TOLERANCES)}. "
                f"Received: {precision!r}."
            )
        self._precision = precision
        # In a closure, where `tf.Module` does not look.
        self._variables = lambda: variables
        self.values = [v.value for v in variables]
        self.scales = []
        if precision == "float16":
            self.values = [_constant(v.numpy(), "float16") for v in self.values]
        elif precision == "int8":
            pairs = [_to_int8(v.numpy()) for v in self.values]
            self.values = [value for value, _ in pairs]
            self.scales = [scale for _, scale in pairs]

    def tensors(self):
        """Returns the weights as float32 tensors, `None` for the model's."""
        if self._precision not in _RESTORED:
            return None
        values = [tf.cast(value, tf.float32) for value in self.values]
        if self.scales:
            pairs = zip(values, self.scales, strict=True)
            values = [value * scale for value, scale in pairs]
        return values

    def used(self, tensors):
        """Returns a context in which the model computes with `tensors`."""
        if tensors is None:
            return contextlib.nullcontext()
        mapping = list(zip(self._variables(), tensors, strict=True))
        return keras.StatelessScope(state_mapping=mapping)


def _to_int8(array):
    """Returns an int8 and a scale variable whose product is the array."""
    if array.ndim != 2:
        return _constant(array, "float32"), _constant(1.0, "float32")
    axis = int(array.shape[0] > array.shape[1])
    largest = np.abs(array).max(axis=axis, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1.0)
    return (
        _constant(np.rint(array / scale), "int8"),
        _constant(scale, "float32"),
    )


def _constant(array, dtype):
    return tf.Variable(np.asarray(array).astype(dtype), trainable=False)
