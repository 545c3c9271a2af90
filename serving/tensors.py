"""Tensors of requests and responses, checked before they are believed."""

import math

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.status import ServingError, invalid_argument

# Fields of a `TensorProto` by dtype, which TF Serving's answers use.
_FIELDS = {
    np.dtype("float32"): "float_val",
    np.dtype("float64"): "double_val",
    np.dtype("int32"): "int_val",
    np.dtype("int64"): "int64_val",
    np.dtype("bool"): "bool_val",
}


def check_rows(rows, most_rows):
    """Raises `ServingError` if a request has too many rows."""
    if rows > most_rows:
        raise invalid_argument(
            f"Request has {rows} rows; this server takes {most_rows} at most. "
            "Send several requests."
        )


def check_bytes(number, most_bytes):
    """Raises `ServingError` if a request is too large when written out.

    What stands for several rows is counted as often: the model gets a copy
    for each.
    """
    if number > most_bytes:
        raise ServingError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"Request has {number} bytes when what its rows share is counted "
            f"for each; this server takes {most_bytes} at most. Send several "
            "requests.",
        )


def input_array(name, proto, info, most_rows, most_bytes):
    """Turns a request's tensor into an array.

    A tensor may claim any shape and bring a single value that fills it, so
    the size is checked before memory is taken.

    Args:
        name: Str, the input's name.
        proto: `TensorProto`.
        info: `TensorInfo` of the signature.
        most_rows: Int, rows of a request at most.
        most_bytes: Int, bytes of its strings at most.

    Returns:
        NumPy array of the signature's dtype and rank.

    Raises:
        ServingError: `INVALID_ARGUMENT` if it does not fit the signature,
            `RESOURCE_EXHAUSTED` if the strings are too long.
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
    if min(shape, default=0) < 0:
        raise invalid_argument(f"tensor parsing error: {name}")
    check_rows(shape[0] if shape else 1, most_rows)
    if proto.dtype == tf.string.as_datatype_enum:
        values = list(proto.string_val)
        if proto.tensor_content or size > max(len(values), most_rows):
            raise invalid_argument(f"tensor parsing error: {name}")
        # As TensorFlow has it: the last value stands for those that lack.
        lacking = max(0, size - len(values))
        values, last = values[:size], values[-1] if values else b""
        check_bytes(sum(map(len, values)) + lacking * len(last), most_bytes)
        values += [last] * lacking
        array = np.empty(size, object)
        array[:] = values
        return array.reshape(shape)
    if size > max(1, proto.ByteSize()):
        raise invalid_argument(f"tensor parsing error: {name}")
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid_argument(f"tensor parsing error: {name}") from error


def output_proto(array):
    """Turns an array into a `TensorProto`."""
    is_text = array.dtype == object
    field = "string_val" if is_text else _FIELDS.get(array.dtype)
    if field is None:
        return tf.make_tensor_proto(array)
    # Clients in other languages read these fields, not `tensor_content`.
    dtype = tf.string if is_text else tf.as_dtype(array.dtype)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    getattr(proto, field).extend(array.ravel().tolist())
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _dtype_name(enum):
    """Returns a dtype's name as TF Serving spells it: float, not float32."""
    if enum not in types_pb2.DataType.values():
        return "invalid"
    return types_pb2.DataType.Name(enum).removeprefix("DT_").lower()
