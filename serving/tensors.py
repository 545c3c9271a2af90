"""Tensors of requests and responses, checked before they are believed."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.status import invalid_argument


def input_array(name, proto, info):
    """Turns a request's tensor into an array.

    A tensor may claim any shape and bring a single value that fills it, so
    the size is checked against what was sent before memory is taken.

    Args:
        name: Str, the input's name.
        proto: `TensorProto`.
        info: `TensorInfo` of the signature.

    Returns:
        NumPy array of the signature's dtype and rank.

    Raises:
        ServingError: `INVALID_ARGUMENT` if it does not fit the signature.
    """
    if proto.dtype != info.dtype:
        raise invalid_argument(
            f"Expects arg[0] to be {_dtype_name(info.dtype)} but "
            f"{_dtype_name(proto.dtype)} is provided"
        )
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    expected = [dimension.size for dimension in info.tensor_shape.dim]
    if len(shape) != len(expected) or any(
        want not in (-1, got) for got, want in zip(shape, expected, strict=True)
    ):
        raise invalid_argument(
            f"Input `{name}` must have shape {expected}, where -1 is any "
            f"size. Received: {shape}."
        )
    size = math.prod(shape)
    if proto.dtype == tf.string.as_datatype_enum:
        values = list(proto.string_val)
        if len(values) != size or min(shape, default=0) < 0:
            raise invalid_argument(f"tensor parsing error: {name}")
        array = np.empty(len(values), object)
        array[:] = values
        return array.reshape(shape)
    if min(shape, default=0) < 0 or size > max(1, proto.ByteSize()):
        raise invalid_argument(f"tensor parsing error: {name}")
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid_argument(f"tensor parsing error: {name}") from error


def output_proto(array):
    """Turns an array into a `TensorProto`."""
    if array.dtype != object:
        return tf.make_tensor_proto(array)
    proto = tf.compat.v1.make_tensor_proto([], tf.string, [0])
    proto.string_val.extend(array.ravel().tolist())
    del proto.tensor_shape.dim[:]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _dtype_name(enum):
    """Returns a dtype's name as TF Serving spells it: float, not float32."""
    if enum not in types_pb2.DataType.values():
        return "invalid"
    return types_pb2.DataType.Name(enum).removeprefix("DT_").lower()
