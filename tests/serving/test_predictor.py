"""Classify with models whose signature has one of the outputs alone."""

import numpy as np
import pytest
from tensorflow_serving.apis import classification_pb2, prediction_log_pb2

from serving.predictor import Predictor
from serving.session_model import Signature
from serving.status import ServingError

_ANSWERS = {
    "classes": np.array([[b"a", b"b"]], object),
    "scores": np.array([[0.25, 0.75]], "float32"),
}


class _Model:
    def __init__(self, outputs):
        self.signatures = {
            "classify": Signature(
                "tensorflow/serving/classify",
                {"inputs": None},
                dict.fromkeys(outputs),
            )
        }

    def run(self, signature_name, inputs, output_names, waiter):
        return {name: _ANSWERS[name] for name in output_names}


def _request():
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = "classify"
    request.input.example_list.examples.add()
    return request


@pytest.mark.parametrize(
    "outputs, answer",
    [
        (("classes", "scores"), [("a", 0.25), ("b", 0.75)]),
        (("classes",), [("a", 0.0), ("b", 0.0)]),
        (("scores",), [("", 0.25), ("", 0.75)]),
    ],
)
def test_either_output_may_be_absent(outputs, answer):
    response = Predictor(None, 9).classify_with(_Model(outputs), 1, _request())
    (row,) = response.result.classifications
    assert [(each.label, each.score) for each in row.classes] == answer


def test_one_output_is_needed():
    with pytest.raises(ServingError, match="at least one of"):
        Predictor(None, 9).classify_with(_Model(("other",)), 1, _request())


def test_a_replayed_request_is_not_observed():
    observed = []
    predictor = Predictor(None, 9, lambda *each: observed.append(each))
    predictor.classify_with(_Model(("scores",)), 1, _request())
    assert len(observed) == 1
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.CopyFrom(_request())
    Predictor(None, 9).replay(_Model(("scores",)), log)
    assert len(observed) == 1
