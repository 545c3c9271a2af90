"""The server answers as the trainer does, over gRPC and REST."""

import json
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

pytestmark = pytest.mark.serving

TEXTS = [
    "What is the capital of France?",
    "who wrote this",
    "",
    "bad film " * 50,
]


@pytest.fixture(scope="module")
def expected(classifier):
    return classifier.predict(TEXTS)


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture
def ask(server):
    """Returns `(status, document)` of a REST request."""

    def request(path, document=None):
        body = None if document is None else json.dumps(document).encode()
        url = f"http://127.0.0.1:{server.rest_port}{path}"
        try:
            with urllib.request.urlopen(url, body, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return request


def test_predict(client, classifier, expected):
    predictions = client.predict(TEXTS)
    got = [list(p.probabilities.values()) for p in predictions]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert [p.label for p in predictions] == [
        classifier.classes[index] for index in expected.argmax(1)
    ]
    assert tuple(predictions[0].probabilities) == classifier.classes


def test_other_languages_find_the_numbers_in_their_fields(channel, expected):
    """TF Serving fills these, unless told to write `tensor_content`."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "questions"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(TEXTS))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    probabilities = stub.Predict(request, timeout=20).outputs["probabilities"]
    assert not probabilities.tensor_content
    np.testing.assert_allclose(
        probabilities.float_val, expected.ravel(), atol=1e-5
    )
    request.model_spec.signature_name = "tokens"
    outputs = stub.Predict(request, timeout=20).outputs
    assert list(outputs["lengths"].int_val) == (
        tf.make_ndarray(outputs["lengths"]).tolist()
    )


@pytest.mark.parametrize(
    "size, values, read",
    [
        (3, ["who wrote this"], ["who wrote this"] * 3),
        (2, [], ["", ""]),
        (1, ["who wrote this", "where"], ["who wrote this"]),
        (0, ["who wrote this"], []),
    ],
)
def test_a_shape_may_say_more_or_less_than_there_is(
    channel, classifier, size, values, read
):
    """TensorFlow fills up with the last value, and cuts the others off."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "questions"
    tensor = request.inputs["text"]
    tensor.dtype = tf.string.as_datatype_enum
    tensor.tensor_shape.dim.add(size=size)
    tensor.string_val.extend(value.encode() for value in values)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    outputs = stub.Predict(request, timeout=20).outputs
    found = tf.make_ndarray(outputs["probabilities"])
    assert len(found) == size
    np.testing.assert_allclose(found, classifier.predict(read), atol=1e-5)


def test_classify(channel, classifier, expected):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "questions"
    request.model_spec.signature_name = "classify"
    for text in TEXTS:
        example = request.input.example_list.examples.add()
        feature = example.features.feature["text"]
        feature.bytes_list.value.append(text.encode())
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Classify(request, timeout=20)
    assert response.model_spec.version.value == 1
    rows = response.result.classifications
    assert [c.label for c in rows[0].classes] == list(classifier.classes)
    got = [[c.score for c in row.classes] for row in rows]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_metadata(channel):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "questions"
    request.metadata_field.append("signature_def")
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.GetModelMetadata(request, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "classify", "tokens"} <= set(
        signatures.signature_def
    )
    outputs = signatures.signature_def["serving_default"].outputs
    assert set(outputs) == {"label", "probabilities", "classes"}


def test_status(channel):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "questions"
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    (status,) = stub.GetModelStatus(request, timeout=20).model_version_status
    assert status.version == 1
    assert status.state == status.AVAILABLE


def test_rest_predict_by_row(ask, expected):
    status, document = ask("/v1/models/questions:predict", {"instances": TEXTS})
    assert status == 200
    got = [row["probabilities"] for row in document["predictions"]]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_rest_predict_by_column(ask, expected):
    status, document = ask(
        "/v1/models/questions/versions/1:predict",
        {"inputs": {"text": [TEXTS[0], {"b64": "d2hvIHdyb3RlIHRoaXM="}]}},
    )
    assert status == 200
    np.testing.assert_allclose(
        document["outputs"]["probabilities"], expected[:2], atol=1e-5
    )


def test_rest_classify(ask, classifier, expected):
    status, document = ask(
        "/v1/models/questions:classify",
        {
            "signature_name": "classify",
            "examples": [{"text": text} for text in TEXTS],
        },
    )
    assert status == 200
    labels = [label for label, _ in document["results"][0]]
    assert labels == list(classifier.classes)
    scores = [[score for _, score in row] for row in document["results"]]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_rest_status_and_metadata(ask):
    status, document = ask("/v1/models/questions")
    assert status == 200
    assert document["model_version_status"] == [
        {
            "version": "1",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]
    status, document = ask("/v1/models/questions/metadata")
    assert status == 200
    assert document["model_spec"]["name"] == "questions"
    (packed,) = document["metadata"].values()
    assert set(packed) == {"signature_def"}
    assert "serving_default" in packed["signature_def"]
    # TF Serving's status does not look at labels.
    status, labelled = ask("/v1/models/questions/labels/none")
    assert status == 200 and labelled["model_version_status"]


@pytest.mark.parametrize(
    "path, document, status, message",
    [
        ("questions:predict", {"instances": [1]}, 400, "expected type"),
        ("questions:predict", {"instances": []}, 400, "No values in"),
        ("questions:predict", {"instances": "a"}, 400, "to be an list/array"),
        ("questions:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        (
            "questions:predict",
            {"instances": ["a"], "inputs": ["a"]},
            400,
            "expecting only one of 'inputs' or 'instances' keys to exist",
        ),
        ("questions:predict", [], 400, "must be an object"),
        ("questions:predict", {"inputs": {"b64": "?"}}, 400, "base64"),
        (
            "questions:predict",
            {"signature_name": "absent", "instances": ["a"]},
            400,
            "not found in signature def",
        ),
        (
            "questions:predict",
            {"signature_name": 3, "instances": ["a"]},
            400,
            "must be a string",
        ),
        ("questions:classify", {}, 400, "'examples' is expected and was not"),
        ("questions:classify", {"examples": 1}, 400, "to be an list/array"),
        ("questions:classify", {"examples": []}, 400, "is an empty array"),
        ("questions:classify", {"examples": ["a"]}, 400, "JSON object"),
        ("absent:predict", {"instances": ["a"]}, 404, "Servable not found"),
        ("questions:absent", {}, 400, "Malformed request"),
        ("absent", None, 404, "any versions of model absent"),
        ("questions/versions/9", None, 404, "version 9"),
        ("questions:predict", {"inputs": "a"}, 400, "must have shape"),
        (
            "questions:predict",
            {"inputs": {"txt": ["a"]}},
            400,
            "Missing named input: text",
        ),
    ],
)
def test_rest_refuses(ask, path, document, status, message):
    got, answer = ask(f"/v1/models/{path}", document)
    assert got == status
    assert message in answer["error"]


@pytest.mark.parametrize("size", [1 << 20, 1 << 26], ids=["1 MB", "64 MB"])
def test_rest_refuses_a_body_over_the_limit(ask, size):
    # More than the sockets' buffers hold: the client is still sending when
    # it is refused, and must get to read why.
    status, document = ask(
        "/v1/models/questions:predict", {"instances": ["x" * size]}
    )
    assert status == 413
    assert "bytes" in document["error"]


def test_metrics(server, client, model_directory):
    client.predict(["who"])
    url = f"http://127.0.0.1:{server.rest_port}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(url, timeout=20) as response:
        lines = response.read().decode().splitlines()
    # Requests that warmed the model up are nobody's, and were of each kind.
    runtime = ":tensorflow:serving:runtime_latency_count{"
    asked = [line for line in lines if line.startswith(runtime)]
    assert all('model_name="questions"' in line for line in asked)
    samples = dict(line.rsplit(" ", 1) for line in lines if line[0] != "#")
    count = (
        ':tensorflow:serving:request_count{model_name="questions",status="OK"}'
    )
    assert int(samples[count]) >= 1
    loads = ":tensorflow:cc:saved_model:load_attempt_count"
    labels = f'{{model_path="{model_directory / "1"}",status="success"}}'
    assert samples[loads + labels] == "1"
    buckets = [
        int(value)
        for name, value in samples.items()
        if name.startswith(":tensorflow:serving:request_latency_bucket")
        and 'model_name="questions",API="Predict",entrypoint="GRPC"' in name
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] >= 1
