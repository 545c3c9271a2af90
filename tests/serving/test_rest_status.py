"""HTTP status of each error, as TF Serving's REST interface gives them."""

import contextlib
import json
import types

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2

from serving.metrics import Metrics
from serving.rest import RestApi
from serving.session_model import Signature
from serving.status import ServingError


class _Refusing:
    """A predictor that refuses every request with one error."""

    def __init__(self, error):
        self._error = error
        self.versions = self
        self.names = ["m"]

    def use(self, spec):
        raise self._error


class _Answering:
    """A predictor that answers nothing and keeps the deadlines."""

    def __init__(self):
        self.versions = self
        self.names = ["m"]
        self.timeouts = []
        self.requests = []

    @contextlib.contextmanager
    def use(self, spec):
        inputs = {"text": None}
        signature = Signature("tensorflow/serving/predict", inputs, {})
        yield (
            types.SimpleNamespace(signatures={"serving_default": signature}),
            1,
        )

    def predict(self, request, waiter):
        self.timeouts.append(waiter.remaining())
        self.requests.append(request)
        return predict_pb2.PredictResponse()

    def classify(self, request, waiter):
        self.timeouts.append(waiter.remaining())
        self.requests.append(request)
        return classification_pb2.ClassificationResponse()


@pytest.mark.parametrize(
    "code, status",
    [
        ("INVALID_ARGUMENT", 400),
        ("FAILED_PRECONDITION", 400),
        ("NOT_FOUND", 404),
        ("RESOURCE_EXHAUSTED", 429),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
        ("INTERNAL", 500),
        ("OUT_OF_RANGE", 400),
        ("UNAUTHENTICATED", 401),
        ("PERMISSION_DENIED", 403),
        ("ABORTED", 409),
        ("ALREADY_EXISTS", 409),
        ("CANCELLED", 499),
    ],
)
def test_each_error_has_its_status(code, status):
    error = ServingError(grpc.StatusCode[code], "as told")
    metrics = Metrics()
    api = RestApi(_Refusing(error), metrics)
    got, _, body = api.answer(
        "POST", "/v1/models/m:predict", b'{"inputs": ["a"]}'
    )
    assert (got, json.loads(body)) == (status, {"error": "as told"})
    assert f'{{model_name="m",status="{code}"}} 1' in metrics.text({})


_HALF = r"\ud800"


@pytest.mark.parametrize(
    "verb, body, status",
    [
        ("predict", f'{{"signature_name": "{_HALF}", "inputs": "a"}}', 400),
        ("predict", f'{{"inputs": {{"{_HALF}": "a"}}}}', 400),
        ("predict", f'{{"instances": [{{"{_HALF}": "a"}}]}}', 400),
        ("classify", f'{{"signature_name": "{_HALF}"}}', 400),
        ("classify", f'{{"examples": [{{"{_HALF}": "a"}}]}}', 400),
        ("predict", f'{{"inputs": ["{_HALF}"]}}', 400),
        ("classify", f'{{"examples": [{{"text": "{_HALF}"}}]}}', 400),
        # A whole one is a character.
        ("predict", r'{"inputs": ["\ud83d\ude00"]}', 200),
    ],
)
def test_half_of_a_surrogate_pair_has_a_status(verb, body, status):
    metrics = Metrics()
    api = RestApi(_Answering(), metrics)
    got, _, content = api.answer("POST", f"/v1/models/m:{verb}", body.encode())
    assert got == status
    assert ("error" in json.loads(content)) == (status == 400)
    code = {200: "OK", 400: "INVALID_ARGUMENT"}[status]
    assert f'status="{code}"}} 1' in metrics.text({})


def test_what_nobody_expected_has_a_status(caplog):
    api = RestApi(_Refusing(KeyError("as told")), Metrics())
    status, _, body = api.answer(
        "POST", "/v1/models/m:predict", b'{"inputs": ["a"]}'
    )
    assert (status, json.loads(body)) == (500, {"error": "Internal error."})
    assert "as told" in caplog.text


@pytest.mark.parametrize(
    "verb, body",
    [
        ("predict", b'{"inputs": ["a"]}'),
        ("classify", b'{"examples": [{"text": "a"}]}'),
    ],
)
def test_requests_have_a_deadline(verb, body):
    predictor = _Answering()
    api = RestApi(predictor, Metrics(), timeout_seconds=7.5)
    status, _, _ = api.answer("POST", f"/v1/models/m:{verb}", body)
    assert status == 200
    (timeout,) = predictor.timeouts
    assert 7 < timeout <= 7.5


def test_metrics_that_fail_have_a_status(caplog):
    api = RestApi(_Refusing(None), Metrics(), metrics_path="/metrics")
    # The stand-in has no counts of loaded versions.
    assert api.answer("GET", "/metrics")[0] == 500
    assert "load_counts" in caplog.text


def _sent(verb, document):
    """Returns what reaches the predictor of a JSON body."""
    predictor = _Answering()
    body = document if isinstance(document, bytes) else document.encode()
    status, _, content = RestApi(predictor, Metrics()).answer(
        "POST", f"/v1/models/m:{verb}", body
    )
    assert status == 200, content
    (request,) = predictor.requests
    return request


@pytest.mark.parametrize(
    "body, texts",
    [
        # TF Serving does not look whether JSON's strings are UTF-8.
        (b'{"inputs": ["caf\xe9"]}', [b"caf\xe9"]),
        (b'{"instances": ["caf\xe9"]}', [b"caf\xe9"]),
        ('{"inputs": ["caf\u00e9"]}'.encode(), ["caf\u00e9".encode()]),
        # Base64's padding may be left out.
        (b'{"inputs": [{"b64": "YQ"}]}', [b"a"]),
        (b'{"inputs": [{"b64": "YQ=="}]}', [b"a"]),
        # In columns only the signature's inputs are looked at.
        (b'{"inputs": {"text": ["a"], "other": 1}}', [b"a"]),
    ],
)
def test_texts_arrive_as_tf_serving_reads_them(body, texts):
    assert list(_sent("predict", body).inputs["text"].string_val) == texts


def test_a_single_value_is_no_batch():
    tensor = _sent("predict", '{"inputs": "a"}').inputs["text"]
    assert list(tensor.tensor_shape.dim) == []


def test_features_have_the_kinds_of_their_values():
    request = _sent(
        "classify",
        '{"examples": [{"text": "a", "id": 5, "x": [1.0, 2.5], "l": ["b"],'
        ' "yes": [true, 2], "far": 18446744073709551616, "none": []}]}',
    )
    (example,) = request.input.example_list.examples
    found = {
        name: (feature.WhichOneof("kind"), _values(feature))
        for name, feature in example.features.feature.items()
    }
    assert found == {
        "text": ("bytes_list", [b"a"]),
        "id": ("int64_list", [5]),
        "x": ("float_list", [1.0, 2.5]),
        "l": ("bytes_list", [b"b"]),
        "yes": ("int64_list", [1, 2]),
        # Beyond 64 bits a whole number is a floating point one.
        "far": ("float_list", [2.0**64]),
        "none": (None, []),
    }


def _values(feature):
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


_DIGITS = "9" * 400


@pytest.mark.parametrize(
    "values, message",
    [
        ("[1, 2.5]", "Unexpected element type in feature: x expecting type: "),
        ("[1, 2.5]", "type: int64"),
        ("[2.5, 1]", "type: float"),
        ('["a", 1]', "type: bytes"),
        ("[null]", "Feature: x has element with unexpected JSON type: Null"),
        ("[[1]]", "unexpected JSON type: Array"),
        ('{"a": 1}', "unexpected JSON type: Object"),
        ("9223372036854775808", "has uint64 element. Only int64 is supported"),
        ("1e39", "to float without loss of precision"),
        (f"[1.5, {_DIGITS}]", "Number too big to be stored in double"),
        (f"[1.5, {_DIGITS * 20}]", "Number too big to be stored in double"),
        ("1e400", "Number too big to be stored in double"),
    ],
)
def test_values_that_no_feature_holds(values, message):
    body = f'{{"examples": [{{"x": {values}}}]}}'.encode()
    status, _, content = RestApi(_Answering(), Metrics()).answer(
        "POST", "/v1/models/m:classify", body
    )
    assert status == 400
    assert message in json.loads(content)["error"]


class _Telling(_Answering):
    """A predictor with numbers to tell."""

    numbers = (0.2, 1 / 3, 1e-7, 16777216.0, 0.0)

    def predict(self, request, waiter):
        response = predict_pb2.PredictResponse()
        for name, dtype in (("f", tf.float32), ("d", tf.float64)):
            response.outputs[name].CopyFrom(
                tf.make_tensor_proto([self.numbers], dtype)
            )
        return response

    def classify(self, request, waiter):
        response = classification_pb2.ClassificationResponse()
        row = response.result.classifications.add()
        for number in self.numbers:
            row.classes.add(label="a", score=number)
        return response


def test_numbers_are_written_with_the_digits_of_their_type():
    # Six digits or, where those are another float32, nine.
    single = [0.2, 0.333333343, 1e-7, 16777216.0, 0.0]
    api = RestApi(_Telling(), Metrics())
    body = b'{"instances": ["a"]}'
    _, _, content = api.answer("POST", "/v1/models/m:predict", body)
    (row,) = json.loads(content)["predictions"]
    assert row == {"f": single, "d": list(_Telling.numbers)}
    assert b"0.2," in content and b"0.20000000298" not in content
    body = b'{"examples": [{"text": "a"}]}'
    _, _, content = api.answer("POST", "/v1/models/m:classify", body)
    assert json.loads(content) == {"results": [[["a", n] for n in single]]}


def test_examples_may_share_a_context():
    request = _sent(
        "classify", '{"context": {"lang": "en"}, "examples": [{"text": "a"}]}'
    )
    listed = request.input.example_list_with_context
    assert _values(listed.context.features.feature["lang"]) == [b"en"]
    (example,) = listed.examples
    assert _values(example.features.feature["text"]) == [b"a"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/my%20model:predict",
        "/V1/Models/my%20model:Predict",
        "/v1/models/my%20model:predict?key=1",
    ],
)
def test_names_in_paths_may_be_escaped(path):
    predictor = _Answering()
    body = b'{"inputs": ["a"]}'
    status, _, _ = RestApi(predictor, Metrics()).answer("POST", path, body)
    assert status == 200
    assert predictor.requests[0].model_spec.name == "my model"


@pytest.mark.parametrize(
    "method, path, status, message",
    [
        ("GET", "/", 404, b"Not Found"),
        ("POST", "/foo", 404, b"Not Found"),
        ("GET", "/metrics", 404, b"Not Found"),
        ("PUT", "/v1/models/m", 400, b"Malformed request: PUT /v1/models/m"),
        ("DELETE", "/v1/models/m:predict", 400, b"Malformed request"),
        ("GET", "/v1/models/m:predict", 400, b"Malformed request"),
        ("POST", "/v1/models/m", 400, b"Malformed request"),
        ("POST", "/v1/models/m:predict", 400, b"The document is empty"),
    ],
)
def test_what_is_no_call_has_tf_serving_s_status(method, path, status, message):
    got, kind, body = RestApi(_Answering(), Metrics()).answer(method, path)
    assert (got, kind == "text/html") == (status, status == 404)
    assert message in body


def test_a_version_beyond_all_numbers():
    api = RestApi(_Answering(), Metrics())
    for digits in ("9" * 19, "9" * 5000):
        status, _, body = api.answer("GET", f"/v1/models/m/versions/{digits}")
        assert status == 400 and b"Failed to convert version" in body
