"""Each mistake gets the status and message of TF Serving."""

import threading
import time
import types

import grpc
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

from serving import waiting

pytestmark = pytest.mark.serving


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def predict_request(texts=("who",), name="questions", signature=""):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(list(texts)))
    return request


def _no_spec(request):
    request.ClearField("model_spec")


def _no_name(request):
    request.model_spec.name = ""


def _unknown_model(request):
    request.model_spec.name = "absent"


def _unknown_version(request):
    request.model_spec.version.value = 9


def _unknown_label(request):
    request.model_spec.version_label = "stable"


def _unknown_signature(request):
    request.model_spec.signature_name = "absent"


def _missing_input(request):
    del request.inputs["text"]


def _extra_input(request):
    request.inputs["extra"].CopyFrom(request.inputs["text"])


def _misnamed_input(request):
    request.inputs["texts"].CopyFrom(request.inputs["text"])
    del request.inputs["text"]


def _wrong_dtype(request):
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([1.0]))


def _unknown_dtype(request):
    request.inputs["text"].dtype = 9999


def _scalar(request):
    request.inputs["text"].CopyFrom(tf.make_tensor_proto("who"))


def _rank_two(request):
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([["who"]]))


def _huge_shape(request):
    request.inputs["text"].tensor_shape.dim[0].size = 1 << 40


def _negative_shape(request):
    request.inputs["text"].tensor_shape.dim[0].size = -1


def _too_many_rows(request):
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(["a"] * 1001))


def _unknown_output(request):
    request.output_filter.append("absent")


def _duplicate_output(request):
    request.output_filter.extend(["label", "label"])


_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_NOT_FOUND = grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "spoil, code, message",
    [
        (_no_spec, _INVALID, "Missing ModelSpec"),
        (_no_name, _INVALID, "ModelSpec has no name specified."),
        (
            _unknown_model,
            _NOT_FOUND,
            "Servable not found for request: Latest(absent)",
        ),
        (
            _unknown_version,
            _NOT_FOUND,
            "Servable not found for request: Specific(questions, 9)",
        ),
        (_unknown_label, _INVALID, "Unrecognized servable version label"),
        (
            _unknown_signature,
            grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature key "absent" not found.',
        ),
        (
            _missing_input,
            _INVALID,
            "input size does not match signature: 0!=1 len({}) != "
            "len({text}). Sent extra: {}. Missing but required: {text}.",
        ),
        (_extra_input, _INVALID, "Sent extra: {extra}."),
        (
            _misnamed_input,
            _INVALID,
            "Signature input alias: text(feed name: ",
        ),
        (
            _misnamed_input,
            _INVALID,
            ") not found in request and no default value provided. Inputs "
            "expected to be in the request {texts}",
        ),
        (
            _wrong_dtype,
            _INVALID,
            "Expects arg[0] to be string but float is provided",
        ),
        (_unknown_dtype, _INVALID, "Expects arg[0] to be string"),
        (_scalar, _INVALID, "must have shape [-1]"),
        (_rank_two, _INVALID, "must have shape [-1]"),
        (_huge_shape, _INVALID, "1000 at most"),
        (_negative_shape, _INVALID, "tensor parsing error: text"),
        (_too_many_rows, _INVALID, "1000 at most"),
        (
            _unknown_output,
            _INVALID,
            "output tensor alias not found in signature: absent",
        ),
        (_duplicate_output, _INVALID, "duplicate output tensor alias"),
    ],
    ids=lambda value: getattr(value, "__name__", "").lstrip("_"),
)
def test_predict_refuses(stub, spoil, code, message):
    request = predict_request()
    spoil(request)
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, timeout=20)
    assert raised.value.code() == code
    assert message in raised.value.details()


def test_a_long_message_is_cut_to_bytes_that_grpc_carries(stub):
    request = predict_request(name="n" + "\u65e5" * 4000)
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, timeout=20)
    assert raised.value.code() == _NOT_FOUND
    message = raised.value.details()
    assert message.startswith("Servable not found for request: Latest(n\u65e5")
    assert 1020 < len(message.encode()) <= 1024


def classification_request(signature="classify"):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "questions"
    request.model_spec.signature_name = signature
    example = request.input.example_list.examples.add()
    example.features.feature["text"].bytes_list.value.append(b"who")
    return request


def _no_example(request):
    del request.input.example_list.examples[:]


def _no_text(request):
    request.input.example_list.examples[0].Clear()


def _number_for_text(request):
    example = request.input.example_list.examples[0]
    example.features.feature["text"].float_list.value.append(1.0)


@pytest.mark.parametrize(
    "spoil, code, message",
    [
        (_no_spec, _INVALID, "Missing ModelSpec"),
        (_unknown_model, _NOT_FOUND, "Servable not found for request"),
        (
            _unknown_signature,
            _INVALID,
            "No signature was found with the name: absent",
        ),
        (
            lambda request: request.model_spec.ClearField("signature_name"),
            _INVALID,
            "Expected classification signature method_name to be "
            "tensorflow/serving/classify. Was: tensorflow/serving/predict",
        ),
        (_no_example, _INVALID, "Input is empty."),
        (_no_text, _INVALID, "text"),
        (_number_for_text, _INVALID, "text"),
    ],
    ids=lambda value: getattr(value, "__name__", "").lstrip("_"),
)
def test_classify_refuses(stub, spoil, code, message):
    request = classification_request()
    spoil(request)
    with pytest.raises(grpc.RpcError) as raised:
        stub.Classify(request, timeout=20)
    assert raised.value.code() == code
    assert message in raised.value.details()


@pytest.mark.parametrize(
    "name, fields, code, message",
    [
        ("questions", [], _INVALID, "at least one metadata_field"),
        ("questions", ["cost"], _INVALID, "cost is not supported"),
        ("absent", ["signature_def"], _NOT_FOUND, "Servable not found"),
    ],
)
def test_metadata_refuses(stub, name, fields, code, message):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = name
    request.metadata_field.extend(fields)
    with pytest.raises(grpc.RpcError) as raised:
        stub.GetModelMetadata(request, timeout=20)
    assert raised.value.code() == code
    assert message in raised.value.details()


@pytest.mark.parametrize(
    "name, version, code, message",
    [
        ("", None, _NOT_FOUND, "any versions of model "),
        ("absent", None, _NOT_FOUND, "any versions of model absent"),
        ("questions", 9, _NOT_FOUND, "version 9 of model questions"),
    ],
)
def test_status_refuses(channel, name, version, code, message):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version:
        request.model_spec.version.value = version
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        stub.GetModelStatus(request, timeout=20)
    assert raised.value.code() == code
    assert message in raised.value.details()


def test_a_deadline_ends_a_long_request(stub):
    request = predict_request(["what is " * 60_000])
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, timeout=0.2)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_server_gives_up_what_nobody_waits_for(stub, server):
    counted = "DEADLINE_EXCEEDED"
    before = _requests(server, counted)
    # Minutes of work.
    request = predict_request(["what is a film " * 50_000])
    with pytest.raises(grpc.RpcError):
        stub.Predict(request, timeout=0.5)
    limit = time.monotonic() + 20
    while _requests(server, counted) == before:
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_long_requests_for_which_there_is_no_thread(stub, monkeypatch):
    def fail(**_):
        raise RuntimeError("can't start new thread")

    # Over the size that is computed in the thread of the request.
    request = predict_request(["what is a film " * 700])
    with monkeypatch.context() as patched:
        patched.setattr(
            waiting,
            "threading",
            types.SimpleNamespace(
                Condition=threading.Condition,
                Thread=lambda **_: types.SimpleNamespace(start=fail),
            ),
        )
        # More than may be computed at the same time.
        for _ in range(130):
            with pytest.raises(grpc.RpcError) as raised:
                stub.Predict(request, timeout=20)
            assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "No thread" in raised.value.details()
    assert stub.Predict(request, timeout=20).outputs


def _requests(server, status):
    lines = server._metrics.text({}).splitlines()
    return [line for line in lines if f'status="{status}"' in line]


def test_a_message_over_the_limit_is_refused(stub):
    request = predict_request(["x" * (1 << 20)])
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, timeout=20)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_bytes_that_are_no_message_are_refused(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"\xff" * 100, timeout=20)
    assert raised.value.code() == grpc.StatusCode.INTERNAL


def test_an_unknown_call_is_unimplemented(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Absent")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", timeout=20)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_status_needs_a_model_spec(channel):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        stub.GetModelStatus(
            get_model_status_pb2.GetModelStatusRequest(), timeout=20
        )
    assert raised.value.code() == _INVALID
    assert raised.value.details() == "Missing ModelSpec"


def test_what_nobody_expected_is_internal(stub, server, monkeypatch, caplog):
    def fail(request, waiter):
        raise KeyError("of this process")

    monkeypatch.setattr(server._predictor, "predict", fail)
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(predict_request(), timeout=20)
    assert raised.value.code() == grpc.StatusCode.INTERNAL
    assert raised.value.details() == "Internal error."
    assert "KeyError: 'of this process'" in caplog.text
    assert _requests(server, "INTERNAL")
