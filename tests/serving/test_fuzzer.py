"""Requests that no client should send: the right status for each.

A thousand by default. As a release check:

    FUZZ_REQUESTS=10000 pytest -s tests/serving/test_fuzzer.py
"""

import collections
import itertools
import json
import os
import random
import socket

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    predict_pb2,
)

pytestmark = [pytest.mark.slow, pytest.mark.serving]

FUZZ_REQUESTS = int(os.environ.get("FUZZ_REQUESTS", 1000))
_MOST_BYTES = 1 << 20
_MOST_ROWS = 200
_REQUESTS = {
    "Predict": predict_pb2.PredictRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
}


def _right_status(content, method="Predict"):
    """What TF Serving says to a request, by its documented rules alone.

    The server has version 1 of `questions`, without labels.
    """
    if len(content) > _MOST_BYTES:
        return "RESOURCE_EXHAUSTED"
    try:
        request = _REQUESTS[method].FromString(content)
    except DecodeError:
        return "INTERNAL"
    spec = request.model_spec
    if not request.HasField("model_spec"):
        return "INVALID_ARGUMENT"
    if method == "GetModelMetadata" and (
        set(request.metadata_field) != {"signature_def"}
    ):
        return "INVALID_ARGUMENT"
    choice = spec.WhichOneof("version_choice")
    if not spec.name or choice == "version_label":
        return "INVALID_ARGUMENT"
    if spec.name != "questions" or (
        choice == "version" and spec.version.value != 1
    ):
        return "NOT_FOUND"
    if method == "Predict":
        return _right_status_of_inputs(request)
    if method == "Classify":
        return _right_status_of_examples(request)
    return "OK"


def _right_status_of_examples(request):
    kind = request.input.WhichOneof("kind")
    # The default signature is none of Classify's.
    if request.model_spec.signature_name != "classify" or kind is None:
        return "INVALID_ARGUMENT"
    listed = getattr(request.input, kind)
    context = getattr(listed, "context", tf.train.Example())
    rows = len(listed.examples)
    if not 0 < rows <= _MOST_ROWS:
        return "INVALID_ARGUMENT"
    # The context is part of each example.
    if listed.ByteSize() + (rows - 1) * context.ByteSize() > _MOST_BYTES:
        return "RESOURCE_EXHAUSTED"
    have_text = all(
        "text" in example.features.feature or "text" in context.features.feature
        for example in listed.examples
    )
    return "OK" if have_text else "INVALID_ARGUMENT"


def _right_status_of_inputs(request):
    name = request.model_spec.signature_name or "serving_default"
    if name not in {"serving_default", "classify", "tokens"}:
        return "FAILED_PRECONDITION"
    tensor = request.inputs.get("text")
    if name == "classify" or len(request.inputs) != 1 or tensor is None:
        return "INVALID_ARGUMENT"
    outputs = {
        "serving_default": {"label", "probabilities", "classes"},
        "tokens": {"token_ids", "tokens", "lengths"},
    }
    wanted = list(request.output_filter)
    if set(wanted) - outputs[name] or len(wanted) > len(set(wanted)):
        return "INVALID_ARGUMENT"
    sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
    # Values that lack are the last one; strings have no `tensor_content`.
    is_right = (
        tensor.dtype == tf.string.as_datatype_enum
        and len(sizes) == 1
        and 0 <= sizes[0] <= _MOST_ROWS
        and not tensor.tensor_content
    )
    if not is_right:
        return "INVALID_ARGUMENT"
    values = tensor.string_val[: sizes[0]] or [b""]
    size = sum(map(len, values)) + (sizes[0] - len(values)) * len(values[-1])
    return "RESOURCE_EXHAUSTED" if size > _MOST_BYTES else "OK"


class _Fuzzer:
    """Sends what no client should; returns what came and what is right."""

    def __init__(self, addresses, seed=0):
        self._rng = random.Random(seed)
        self._addresses = addresses
        self._channel = grpc.insecure_channel(addresses["grpc"])

    def close(self):
        self._channel.close()

    def _bytes(self, most=2000):
        return self._rng.randbytes(self._rng.randrange(most))

    def valid(self):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "questions"
        request.inputs["text"].CopyFrom(tf.make_tensor_proto(["who"]))
        return request

    def _call(self, content, method="Predict"):
        call = self._channel.unary_unary(
            f"/tensorflow.serving.PredictionService/{method}"
        )
        # Some without a deadline: a server that did not answer would show.
        timeout = self._rng.choice([60, None])
        try:
            call(content, timeout=timeout)
            status = "OK"
        except grpc.RpcError as error:
            status = error.code().name
        return status, {_right_status(content, method)}

    def noise(self):
        return self._call(self._bytes(), self._rng.choice(list(_REQUESTS)))

    def mutated(self):
        content = bytearray(self.valid().SerializeToString())
        for _ in range(self._rng.randrange(1, 5)):
            content[self._rng.randrange(len(content))] = self._rng.randrange(
                256
            )
        return self._call(bytes(content))

    def wrong_tensor(self):
        request = self.valid()
        shape = [self._rng.randrange(3) for _ in range(self._rng.randrange(4))]
        dtype = self._rng.choice([tf.float32, tf.int64, tf.bool, tf.string])
        value = np.zeros(shape) if dtype != tf.string else np.full(shape, "a")
        tensor = tf.make_tensor_proto(value, dtype)
        if self._rng.random() < 0.3 and tensor.tensor_shape.dim:
            tensor.tensor_shape.dim[0].size = self._rng.choice([-5, 1 << 60])
        request.inputs["text"].CopyFrom(tensor)
        return self._call(request.SerializeToString())

    def wrong_names(self):
        request = self.valid()
        spec = request.model_spec
        spec.name = self._rng.choice(["absent", "", "a" * 9999, "questions"])
        spec.signature_name = self._rng.choice(["", "\n", "x", "classify"])
        if self._rng.random() < 0.5:
            spec.version.value = self._rng.choice([0, 1, 2, -1, 1 << 62])
        elif self._rng.random() < 0.3:
            spec.version_label = self._rng.choice(["", "stable"])
        if self._rng.random() < 0.5:
            del request.inputs["text"]
        if self._rng.random() < 0.3:
            request.inputs["other"].CopyFrom(tf.make_tensor_proto(["who"]))
        if self._rng.random() < 0.3:
            names = ["label", "classes", "absent"]
            request.output_filter.extend(self._rng.choices(names, k=2))
        return self._call(request.SerializeToString())

    def huge_string(self):
        request = self.valid()
        size = self._rng.choice([_MOST_BYTES // 8, 2 * _MOST_BYTES])
        request.inputs["text"].string_val[0] = b"x" * size
        return self._call(request.SerializeToString())

    def filled_tensor(self):
        """One text that stands for many."""
        request = self.valid()
        tensor = request.inputs["text"]
        tensor.string_val[0] = b"x" * self._rng.choice([9, 5000, 20_000])
        tensor.tensor_shape.dim[0].size = self._rng.choice(
            [1, _MOST_ROWS, _MOST_ROWS + 1]
        )
        return self._call(request.SerializeToString())

    def context(self):
        """One context that many examples share."""
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "questions"
        request.model_spec.signature_name = "classify"
        listed = request.input.example_list_with_context
        name = self._rng.choice(["text", "text", "other"])
        listed.context.features.feature[name].bytes_list.value.append(
            b"x" * self._rng.choice([9, 5000, 20_000])
        )
        for _ in range(self._rng.choice([0, 1, _MOST_ROWS, _MOST_ROWS + 1])):
            listed.examples.add()
        return self._call(request.SerializeToString(), "Classify")

    def odd_text(self):
        request = self.valid()
        request.inputs["text"].string_val[0] = self._bytes(200)
        return self._call(request.SerializeToString())

    def rest_noise(self):
        path = self._rng.choice(["/", "/v1/models/questions:predict", "/%00"])
        is_its_own = path.startswith("/v1/")
        return self._post(path, self._bytes(200)), {
            "400" if is_its_own else "404"
        }

    def rest_json(self):
        """Valid JSON whose strings may hold half of a surrogate pair."""

        def string(*likely):
            return self._rng.choice([*likely, "\ud800", "a\udfff", "\0", ""])

        verb = self._rng.choice(["predict", "classify"])
        value = string("who")
        row = {string("text", "text"): value}
        key = self._rng.choice(["inputs", "instances", "examples"])
        rows = self._rng.choice([value, [value], row, [row], [row, row]])
        document = {key: rows}
        if self._rng.random() < 0.5:
            document["signature_name"] = string("serving_default", "classify")
        status = self._post(
            f"/v1/models/questions:{verb}", json.dumps(document).encode()
        )
        # Where a key or a name is wrong there can be no answer.
        named = {"serving_default", "classify", ""}
        known = {"classify"} if verb == "classify" else named
        known_keys = (
            {"examples"} if verb == "classify" else {"inputs", "instances"}
        )
        is_wrong = (
            key not in known_keys
            or document.get("signature_name", "classify") not in known
            or (isinstance(rows, dict) and "text" not in rows)
        )
        return status, {"400"} if is_wrong else {"200", "400"}

    def _post(self, path, body):
        connection = self._connect("rest")
        try:
            head = (
                f"POST {path} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            answer = connection.recv(100)
        except OSError:
            return "dropped"
        finally:
            connection.close()
        return answer.split(b" ")[1].decode()

    def dropped_connection(self):
        connection = self._connect(self._rng.choice(["grpc", "rest"]))
        if self._rng.random() < 0.5:
            connection.sendall(self._bytes(50))
        connection.close()
        return "dropped", {"dropped"}

    def _connect(self, kind):
        host, port = self._addresses[kind].rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=60)


_KINDS = (
    *("noise", "mutated", "wrong_tensor", "wrong_names", "huge_string"),
    *("filled_tensor", "context", "odd_text"),
    *("rest_noise", "rest_json", "dropped_connection"),
)


@pytest.mark.parametrize("batching", [False, True])
def test_the_server_survives_a_fuzzer(
    model_directory, classifier, start_server, batching
):
    process, addresses = start_server(
        *("--model-base-path", str(model_directory)),
        *("--rest-api-port", "0", "--max-message-bytes", str(_MOST_BYTES)),
        *("--max-rows", str(_MOST_ROWS)),
        *(["--enable-batching"] if batching else []),
    )
    fuzzer = _Fuzzer(addresses)
    seen = collections.Counter()
    wrong = []
    for kind in itertools.islice(itertools.cycle(_KINDS), FUZZ_REQUESTS):
        status, right = getattr(fuzzer, kind)()
        seen[kind, status] += 1
        if status not in right:
            wrong.append((kind, status, right))
        assert process.poll() is None
    print(dict(seen))
    assert wrong == []
    response = fuzzer._channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        response_deserializer=predict_pb2.PredictResponse.FromString,
    )(fuzzer.valid().SerializeToString(), timeout=30)
    np.testing.assert_allclose(
        tf.make_ndarray(response.outputs["probabilities"]),
        classifier.predict(["who"]),
        atol=1e-5,
    )
    fuzzer.close()
