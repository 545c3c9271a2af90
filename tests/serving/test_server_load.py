"""Requests without an end, requests that nobody waits for, and too many."""

import contextlib
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import health
from serving.batching import BatchingOptions
from serving.model_server import Server, ServerOptions
from serving.model_source import ModelSource
from serving.session_model import SessionModel

pytestmark = pytest.mark.serving

# Over the size that is computed in the thread of the request.
LONG = "what is a film " * 700
# Minutes of work.
ENDLESS = "what is a film " * 50_000
WORKERS = 2
BATCHING = BatchingOptions(max_batch_size=8, num_batch_threads=2)


def _request(*texts):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "questions"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts))
    return request


@contextlib.contextmanager
def _serving(model_directory, batching=None, max_workers=WORKERS):
    server = Server(
        [ModelSource("questions", model_directory)],
        ServerOptions(port=0, max_workers=max_workers, batching=batching),
    )
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        channel.stub = prediction_service_pb2_grpc.PredictionServiceStub(
            channel
        )
        channel.metrics = server._metrics
        yield channel
    server.stop(0)


@pytest.fixture(
    scope="module", params=[None, BATCHING], ids=["alone", "batching"]
)
def channel(request, model_directory):
    with _serving(model_directory, request.param) as channel:
        yield channel


def _wait_for(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


# These first: the others leave long runs behind, which share the processor.
def test_joined_requests_need_no_deadline(model_directory, classifier):
    batching = BatchingOptions(
        max_batch_size=2, batch_timeout_micros=300_000, num_batch_threads=1
    )
    with _serving(model_directory, batching) as channel:
        calls = [
            channel.stub.Predict.future(_request(text))
            for text in (LONG, "who")
        ]
        got = [
            tf.make_ndarray(call.result(20).outputs["probabilities"])[0]
            for call in calls
        ]
    expected = classifier.predict([LONG, "who"])
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_full_batching_queue_is_unavailable(model_directory, monkeypatch):
    batching = BatchingOptions(
        max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1
    )
    with _serving(model_directory, batching, max_workers=9) as channel:
        may_run = threading.Event()
        run = SessionModel.run

        def run_later(*arguments, **keywords):
            may_run.wait(60)
            return run(*arguments, **keywords)

        monkeypatch.setattr(SessionModel, "run", run_later)
        calls = []
        # One is computed and two wait.
        for _ in range(3):
            calls.append(channel.stub.Predict.future(_request("who")))
            time.sleep(1)
        with pytest.raises(grpc.RpcError) as raised:
            channel.stub.Predict(_request("who"), timeout=20)
        may_run.set()
        assert all(call.result(60).outputs for call in calls)
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    assert raised.value.details() == (
        "The batch scheduling queue to which this task was submitted is full; "
        "currently 2 batches enqueued and max_enqueued_batches is 2"
    )


@pytest.mark.parametrize("timeout", [None, 1e9, 60.0])
def test_a_long_request_may_have_any_deadline(channel, classifier, timeout):
    texts = [LONG, "who"]
    response = channel.stub.Predict(_request(*texts), timeout=timeout)
    np.testing.assert_allclose(
        tf.make_ndarray(response.outputs["probabilities"]),
        classifier.predict(texts),
        atol=1e-5,
    )


def test_requests_that_are_cancelled_hold_up_nobody(channel):
    channel.stub.Predict(_request("who"), timeout=20)
    for _ in range(4):
        calls = [
            channel.stub.Predict.future(_request(ENDLESS), timeout=3600)
            for _ in range(4 * WORKERS)
        ]
        time.sleep(0.5)
        for call in calls:
            call.cancel()
        _wait_for(lambda: _asked(channel) is None)
    _wait_for(lambda: 'status="CANCELLED"' in channel.metrics.text({}))


def test_what_is_too_much_is_unavailable_and_status_is_told(channel):
    channel.stub.Predict(_request("who"), timeout=20)
    # As many are computed and three times as many wait.
    calls = [
        channel.stub.Predict.future(_request(ENDLESS), timeout=30)
        for _ in range(4 * WORKERS)
    ]
    _wait_for(lambda: _is_refused(_asked(channel)))
    assert "under way" in _asked(channel).details()
    counted = 'model_name="",status="UNAVAILABLE"}'
    assert counted in channel.metrics.text({})
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        response_deserializer=health.HealthCheckResponse.FromString,
    )
    assert check(b"", timeout=5).status == 1
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "questions"
    model_stub = model_service_pb2_grpc.ModelServiceStub(channel)
    assert model_stub.GetModelStatus(status, timeout=5).model_version_status
    for call in calls:
        call.cancel()
    # There is room again.
    _wait_for(lambda: _asked(channel) is None)


def _asked(channel):
    """Asks once; returns the error, `None` if there is an answer."""
    try:
        channel.stub.Predict(_request("who"), timeout=5)
    except grpc.RpcError as error:
        # What was cancelled is computed to its next chunk, which takes time.
        late = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert late or _is_refused(error)
        return error
    return None


def _is_refused(error):
    return error is not None and (error.code() == grpc.StatusCode.UNAVAILABLE)
