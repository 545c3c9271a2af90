"""Classify with one output alone, and requests that grow when written out."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_log_pb2,
)

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


class _Texts:
    """A model that takes texts and tells how many they are."""

    def __init__(self):
        text = meta_graph_pb2.TensorInfo(dtype=tf.string.as_datatype_enum)
        text.tensor_shape.dim.add(size=-1)
        self.signatures = {
            "serving_default": Signature("", {"text": text}, {"rows": None})
        }

    def run(self, signature_name, inputs, output_names, waiter):
        return {"rows": np.array([len(inputs["text"])])}


@pytest.mark.parametrize(
    "rows, size, code",
    [
        (1, 1000, None),
        (10, 100, None),
        (10, 101, "RESOURCE_EXHAUSTED"),
        (11, 1, "INVALID_ARGUMENT"),
    ],
)
def test_a_text_that_fills_a_tensor_counts_for_each_row(rows, size, code):
    request = predict_pb2.PredictRequest()
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([b"x" * size]))
    request.inputs["text"].tensor_shape.dim[0].size = rows
    predictor = Predictor(None, 10, max_bytes=1000)
    if code is None:
        response = predictor.predict_with(_Texts(), 1, request)
        assert list(response.outputs["rows"].int64_val) == [rows]
        return
    with pytest.raises(ServingError) as raised:
        predictor.predict_with(_Texts(), 1, request)
    assert raised.value.code == grpc.StatusCode[code]


@pytest.mark.parametrize(
    "rows, size, code",
    [
        (1, 800, None),
        (4, 200, None),
        (9, 200, "RESOURCE_EXHAUSTED"),
        (10, 200, "INVALID_ARGUMENT"),
    ],
)
def test_a_context_counts_for_each_example(rows, size, code):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = "classify"
    listed = request.input.example_list_with_context
    text = listed.context.features.feature["text"]
    text.bytes_list.value.append(b"x" * size)
    for _ in range(rows):
        listed.examples.add()
    seen = []

    class Counting(_Model):
        def run(self, signature_name, inputs, output_names, waiter):
            seen.extend(inputs["inputs"])
            return {"scores": np.zeros((rows, 2), "float32")}

    predictor = Predictor(None, 9, max_bytes=1000)
    model = Counting(("scores",))
    if code is None:
        predictor.classify_with(model, 1, request)
        assert seen == [listed.context.SerializeToString()] * rows
        return
    with pytest.raises(ServingError) as raised:
        predictor.classify_with(model, 1, request)
    assert raised.value.code == grpc.StatusCode[code]
    assert seen == []
