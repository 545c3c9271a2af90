"""Values in JSON as TF Serving reads and writes them (`json_tensor.cc`)."""

import base64
import json
import math

import numpy as np

from serving.status import invalid_argument

_INT64 = 1 << 63
_UINT64 = 1 << 64
_FLOAT_MAX = float(np.finfo(np.float32).max)
_TYPES = {
    type(None): "Null",
    list: "Array",
    dict: "Object",
    str: "String",
    int: "Number",
    float: "Number",
}


def parse(body):
    """Turns a request's bytes into what they say.

    Raises:
        ServingError: If they are no JSON.
    """
    if not body.strip():
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        # As TF Serving: texts may be no UTF-8, and go to the model as they
        # are.
        return json.loads(
            body.decode("utf-8", "surrogateescape"),
            parse_int=_integer,
            parse_float=_double,
        )
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from error


def fill_example(example, features):
    """Fills a `tf.Example` with the values of a JSON object.

    Raises:
        ServingError: If a value is of no type or of another one than those
            before it.
    """
    if not isinstance(features, dict):
        raise invalid_argument(
            f"Example must be JSON object but got JSON {_type_name(features)}"
        )
    for name, content in features.items():
        feature = example.features.feature[name]
        for value in content if isinstance(content, list) else [content]:
            kind, value = _feature_value(name, value)
            if feature.WhichOneof("kind") not in (None, kind):
                known = feature.WhichOneof("kind").removesuffix("_list")
                raise invalid_argument(
                    f"Unexpected element type in feature: {name} expecting "
                    f"type: {known}"
                )
            getattr(feature, kind).value.append(value)


def text(name, value):
    """Returns the bytes of a string of an input or a feature.

    Raises:
        ServingError: If it is none.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            # The padding at the end may be left out.
            whole = value["b64"] + "=" * (-len(value["b64"]) % 4)
            return base64.b64decode(whole, validate=True)
        except (ValueError, TypeError) as error:
            raise invalid_argument(
                f"Invalid base64 string of input `{name}`."
            ) from error
    raise invalid_argument(
        f"JSON Value of input `{name}` is of type {type(value).__name__}; "
        "expected type: string"
    )


def written(value):
    """Returns the number whose digits TF Serving writes for a float32.

    They are six, or nine where six are another float32.
    """
    short = float(f"{value:.6g}")
    return short if np.float32(short) == value else float(f"{value:.9g}")


def _feature_value(name, value):
    """Returns the kind of a feature's value, and the value."""
    if isinstance(value, str) or (
        isinstance(value, dict) and set(value) == {"b64"}
    ):
        return "bytes_list", text(name, value)
    if value is None or isinstance(value, list | dict):
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: "
            f"{_type_name(value)}"
        )
    if isinstance(value, int):
        if value >= _INT64:
            raise invalid_argument(
                f"Feature: {name} has uint64 element. Only int64 is supported."
            )
        return "int64_list", int(value)
    if math.isfinite(value) and abs(value) > _FLOAT_MAX:
        raise invalid_argument(
            f"Cannot convert JSON value: {value} to float without loss of "
            "precision."
        )
    return "float_list", value


def _type_name(value):
    return str(value) if isinstance(value, bool) else _TYPES[type(value)]


def _integer(digits):
    """Whole numbers beyond 64 bits are floating point ones."""
    # Python refuses to convert thousands of digits.
    number = int(digits) if len(digits) < 100 else None
    if number is not None and -_INT64 <= number < _UINT64:
        return number
    return _double(digits)


def _double(digits):
    number = float(digits)
    if math.isinf(number):
        raise ValueError("Number too big to be stored in double.")
    return number
