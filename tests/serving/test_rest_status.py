"""HTTP status of each error, as TF Serving's REST interface gives them."""

import json

import grpc
import pytest

from serving.metrics import Metrics
from serving.rest import RestApi
from serving.status import ServingError


class _Refusing:
    """A predictor that refuses every request with one error."""

    def __init__(self, error):
        self._error = error
        self.versions = self
        self.names = ["m"]

    def use(self, spec):
        raise self._error


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
