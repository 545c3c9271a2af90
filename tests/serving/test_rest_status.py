"""HTTP status of each error, as TF Serving's REST interface gives them."""

import contextlib
import json
import types

import grpc
import pytest
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
        return predict_pb2.PredictResponse()

    def classify(self, request, waiter):
        self.timeouts.append(waiter.remaining())
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
    ],
)
def test_each_error_has_its_status(code, status):
    error = ServingError(grpc.StatusCode[code], "as told")
    metrics = Metrics()
    api = RestApi(_Refusing(error), metrics)
    got, _, body = api.answer(
        "POST", "/v1/models/m:predict", b'{"inputs": "a"}'
    )
    assert (got, json.loads(body)) == (status, {"error": "as told"})
    counted = f'{{model_name="m",method="REST_Predict",status="{code}"}} 1'
    assert counted in metrics.text({})


_HALF = r"\ud800"


@pytest.mark.parametrize(
    "verb, body, status",
    [
        ("predict", f'{{"signature_name": "{_HALF}", "inputs": "a"}}', 400),
        ("predict", f'{{"inputs": {{"{_HALF}": "a"}}}}', 400),
        ("predict", f'{{"instances": [{{"{_HALF}": "a"}}]}}', 400),
        ("classify", f'{{"signature_name": "{_HALF}"}}', 400),
        ("classify", f'{{"examples": [{{"{_HALF}": "a"}}]}}', 400),
        # A text is made valid, as everywhere.
        ("predict", f'{{"inputs": "{_HALF}"}}', 200),
        ("classify", f'{{"examples": [{{"text": "{_HALF}"}}]}}', 200),
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
        "POST", "/v1/models/m:predict", b'{"inputs": "a"}'
    )
    assert (status, json.loads(body)) == (500, {"error": "Internal error."})
    assert "as told" in caplog.text


@pytest.mark.parametrize(
    "verb, body",
    [
        ("predict", b'{"inputs": "a"}'),
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
