"""TF Serving's REST interface over a `Predictor`."""

import json
import logging
import re
import time
import urllib.parse

import grpc
import numpy as np
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from serving import json_values
from serving.staging import HIGHEST_VERSION
from serving.status import ServingError, invalid_argument
from serving.waiting import Waiter

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_CALL = re.compile(_MODEL + r":(predict|classify)", re.IGNORECASE)
_STATUS = re.compile(_MODEL + r"(/metadata)?", re.IGNORECASE)
# What TF Serving's REST interface is asked at all; its HTTP server answers
# the rest.
_ITS_OWN = re.compile(r"/v1/.*", re.IGNORECASE)
_NOT_FOUND = (
    b"<html><head><title>404 Not Found</title></head>"
    b"<body><h1>Not Found</h1></body></html>\n"
)
_MOST_DIGITS = 1000


class RestApi:
    """Requests in JSON to responses in JSON.

    Args:
        predictor: `Predictor`.
        metrics: `Metrics`.
        metrics_path: Str, where Prometheus' text is, or `None`.
        timeout_seconds: Float, after which a request is given up, or `None`.
    """

    def __init__(
        self, predictor, metrics, metrics_path=None, timeout_seconds=None
    ):
        self._predictor = predictor
        self._metrics = metrics
        self._metrics_path = metrics_path
        self._timeout_seconds = timeout_seconds

    def answer(self, method, path, body=b""):
        """Returns `(HTTP status, content type, body)` of a request."""
        path = path.split("?", 1)[0]
        try:
            if method == "GET" and path == self._metrics_path:
                text = self._metrics.text(self._predictor.versions.load_counts)
                return 200, "text/plain; version=0.0.4", text.encode("utf-8")
            if not _ITS_OWN.fullmatch(path):
                return 404, "text/html", _NOT_FOUND
            return 200, "application/json", self._content(method, path, body)
        except ServingError as error:
            status, message = error.http_status, error.message
        except UnicodeEncodeError as error:
            # JSON may escape half of a surrogate pair.
            status, message = 400, f"A string is no valid Unicode: {error}"
        except Exception:
            logging.exception("%s %s failed", method, path)
            status, message = 500, "Internal error."
        content = json.dumps({"error": message}).encode("utf-8")
        return status, "application/json", content

    def _content(self, method, path, body):
        if method == "POST" and (match := _CALL.fullmatch(path)):
            *model, verb = match.groups()
            verb = verb.capitalize()
            call = self._predict if verb == "Predict" else self._classify
            return self._counted(verb, call, _decoded_names(model), body)
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            *model, metadata = match.groups()
            model = _decoded_names(model)
            return self._metadata(model) if metadata else self._status(model)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _counted(self, verb, call, model, body):
        started, code = time.monotonic(), "INTERNAL"
        try:
            content = call(model, _parse(body))
            code = grpc.StatusCode.OK.name
            return content
        except ServingError as error:
            code = error.code.name
            raise
        except UnicodeEncodeError:
            code = grpc.StatusCode.INVALID_ARGUMENT.name
            raise
        finally:
            name = model[0]
            if name not in self._predictor.versions.names:
                name = ""
            self._metrics.count_request(
                name, verb, "REST", code, time.monotonic() - started
            )

    def _predict(self, model, document):
        request = predict_pb2.PredictRequest()
        _fill_spec(request.model_spec, model, document)
        with self._predictor.versions.use(request.model_spec) as (served, _):
            name = request.model_spec.signature_name or "serving_default"
            if name not in served.signatures:
                raise invalid_argument(
                    f'Serving signature name: "{name}" not found in '
                    "signature def"
                )
            names = list(served.signatures[name].inputs)
        by_row = "instances" in document
        if not by_row and "inputs" not in document:
            raise invalid_argument("Missing 'inputs' or 'instances' key")
        if by_row and "inputs" in document:
            # TF Serving repeats the request before the words that it gives
            # here and below.
            raise invalid_argument(
                "Not formatted correctly expecting only one of 'inputs' or "
                "'instances' keys to exist"
            )
        columns = (
            _columns_of_rows(document["instances"], names)
            if by_row
            else _columns(document["inputs"], names)
        )
        for name, values in columns.items():
            _fill_strings(request.inputs[name], name, values)
        response = self._predictor.predict(
            request, Waiter(self._timeout_seconds)
        )
        outputs = {
            name: _plain(tensor) for name, tensor in response.outputs.items()
        }
        if not by_row:
            only = len(outputs) == 1
            return _dump(
                {"outputs": next(iter(outputs.values())) if only else outputs}
            )
        rows = [
            dict(zip(outputs, row, strict=True))
            for row in zip(*outputs.values(), strict=True)
        ]
        if len(outputs) == 1:
            rows = next(iter(outputs.values()))
        return _dump({"predictions": rows})

    def _classify(self, model, document):
        request = classification_pb2.ClassificationRequest()
        _fill_spec(request.model_spec, model, document)
        if "examples" not in document:
            raise invalid_argument(
                "When method is classify, key 'examples' is expected and was "
                "not found"
            )
        examples = document["examples"]
        if not isinstance(examples, list):
            raise invalid_argument(
                "Expecting 'examples' value to be an list/array"
            )
        if not examples:
            raise invalid_argument("'examples' value is an empty array")
        listed = request.input.example_list
        if "context" in document:
            listed = request.input.example_list_with_context
            json_values.fill_example(listed.context, document["context"])
        for features in examples:
            json_values.fill_example(listed.examples.add(), features)
        response = self._predictor.classify(
            request, Waiter(self._timeout_seconds)
        )
        return _dump(
            {
                "results": [
                    [
                        [each.label, json_values.written(each.score)]
                        for each in row.classes
                    ]
                    for row in response.result.classifications
                ]
            }
        )

    def _status(self, model):
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill_spec(request.model_spec, model, {})
        response = self._predictor.versions.status(request.model_spec)
        return _dump(_as_dict(response))

    def _metadata(self, model):
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        _fill_spec(request.model_spec, model, {})
        request.metadata_field.append("signature_def")
        document = _as_dict(self._predictor.metadata(request))
        # TF Serving prints what is packed, without its type.
        document["metadata"]["signature_def"].pop("@type", None)
        return _dump(document)


def _parse(body):
    document = json_values.parse(body)
    if not isinstance(document, dict):
        raise invalid_argument("JSON request must be an object.")
    return document


def _decoded_names(model):
    """Name, version and label of a path, whose names may be escaped."""
    name, version, label = model
    unquote = urllib.parse.unquote
    return unquote(name), version, label and unquote(label)


def _fill_spec(spec, model, document):
    name, version, label = model
    spec.name = name
    if version is not None:
        number = int(version[:_MOST_DIGITS])
        if number > HIGHEST_VERSION:
            raise invalid_argument(f"Failed to convert version: {version}")
        spec.version.value = number
    if label is not None:
        spec.version_label = label
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise invalid_argument("'signature_name' key must be a string value.")
    spec.signature_name = signature_name


def _columns_of_rows(rows, names):
    """Values of TF Serving's row format, by input."""
    if not isinstance(rows, list):
        raise invalid_argument("Excepting 'instances' to be an list/array")
    if not rows:
        raise invalid_argument("No values in 'instances' array")
    if all(isinstance(row, dict) and "b64" not in row for row in rows):
        if any(row.keys() != rows[0].keys() for row in rows):
            raise invalid_argument("All instances must have the same inputs.")
        return {name: [row[name] for row in rows] for name in rows[0]}
    if len(names) != 1:
        raise invalid_argument(f"Instances must be objects with {names}.")
    return {names[0]: rows}


def _columns(inputs, names):
    """Values of TF Serving's column format, by input; others are ignored."""
    if isinstance(inputs, dict) and "b64" not in inputs:
        for name in names:
            if name not in inputs:
                raise invalid_argument(
                    f"Missing named input: {name} in 'inputs' object."
                )
        return {name: inputs[name] for name in names}
    if len(names) != 1:
        raise invalid_argument(f"'inputs' must be an object with {names}.")
    return {names[0]: inputs}


def _fill_strings(tensor, name, values):
    tensor.dtype = 7  # DT_STRING
    if isinstance(values, list):
        tensor.tensor_shape.dim.add(size=len(values))
    else:
        # A tensor without dimensions, for the model to refuse.
        values = [values]
    tensor.string_val.extend(json_values.text(name, each) for each in values)


def _plain(tensor):
    """Turns a `TensorProto` into lists of str and numbers."""
    import tensorflow as tf

    array = tf.make_ndarray(tensor)
    if array.dtype == np.float32:
        numbers = [json_values.written(each) for each in array.flat]
        return np.reshape(numbers, array.shape).tolist()
    if array.dtype != object:
        return array.tolist()
    # Outputs such as `tokens` hold what the tokenizer made of a text.
    return _decoded(array.tolist())


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return value.decode("utf-8", errors="replace")


def _dump(document):
    return json.dumps(document).encode("utf-8")


def _as_dict(message):
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        # As TF Serving does.
        always_print_fields_with_no_presence=True,
    )
