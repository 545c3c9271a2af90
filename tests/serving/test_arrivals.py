"""Calls that begin and say nothing."""

import contextlib
import threading
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import arrivals, health
from serving.model_server import Server, ServerOptions
from serving.model_source import ModelSource

pytestmark = pytest.mark.serving

# More than there are threads for.
SILENT = 300
PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"


@pytest.fixture
def served(model_directory):
    server = Server(
        [ModelSource("questions", model_directory)],
        ServerOptions(port=0, max_workers=2),
    )
    server.start()
    yield server
    server.stop(0)


@contextlib.contextmanager
def _channel(server):
    with grpc.insecure_channel(
        f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        yield channel


@contextlib.contextmanager
def _silent(server, method, number):
    """Calls whose headers are sent, and nothing else."""
    may_end = threading.Event()

    def nothing():
        may_end.wait(60)
        yield from ()

    with _channel(server) as channel:
        kind = "stream_stream" if method == WATCH else "stream_unary"
        begin = getattr(channel, kind)(method)
        begin = begin if method == WATCH else begin.future
        yield [begin(nothing()) for _ in range(number)]
        may_end.set()


def _ask_everything(server):
    """Asks for a prediction, a status and the health, each at once."""
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name = "questions"
    predict.inputs["text"].CopyFrom(tf.make_tensor_proto(["who"]))
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "questions"
    with _channel(server) as channel:
        check = channel.unary_unary(
            CHECK,
            response_deserializer=health.HealthCheckResponse.FromString,
        )
        assert check(b"", timeout=5).status == 1
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert stub.Predict(predict, timeout=5).outputs
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        assert stub.GetModelStatus(status, timeout=5).model_version_status


@pytest.mark.parametrize("method", [PREDICT, STATUS, CHECK, WATCH])
def test_silent_calls_keep_nobody_out(served, method):
    with _silent(served, method, SILENT) as calls:
        time.sleep(1)
        for _ in range(3):
            _ask_everything(served)
        # Those that came last may still send something.
        assert not calls[-1].done()


@pytest.mark.parametrize("method", [PREDICT, WATCH])
def test_a_message_has_to_arrive_in_time(model_directory, monkeypatch, method):
    monkeypatch.setattr(arrivals, "_ARRIVAL_SECONDS", 0.5)
    server = Server(
        [ModelSource("questions", model_directory)], ServerOptions(port=0)
    )
    server.start()
    started = time.monotonic()
    with _silent(server, method, 1) as (call,):
        assert call.code() == grpc.StatusCode.CANCELLED
        assert 0.4 < time.monotonic() - started < 5
        _ask_everything(server)
    server.stop(0)


def test_a_call_without_a_message_is_told_so(served):
    with _channel(served) as channel:
        call = channel.stream_unary(PREDICT).future(iter(()))
        assert call.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "one request message" in call.details()


def test_silent_calls_do_not_hold_up_the_end(served):
    with _silent(served, PREDICT, 5):
        time.sleep(0.5)
        started = time.monotonic()
        served.stop(20)
        assert time.monotonic() - started < 5


def _wait_for(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


class _Context:
    """A call whose message is there when it is told so."""

    def __init__(self):
        self.changed = threading.Event()
        self.is_cancelled = False

    def cancel(self):
        self.is_cancelled = True
        self.changed.set()

    def messages(self):
        self.changed.wait(10)
        if not self.is_cancelled:
            yield b"message"


def test_the_longest_wait_ends_when_there_are_too_many():
    waiting = arrivals.Arrivals(most=2)
    contexts = [_Context() for _ in range(3)]
    threads = []
    got = {}
    for context in contexts:

        def receive(context=context):
            got[context] = waiting.receive(context.messages(), context)

        threads.append(threading.Thread(target=receive))
        threads[-1].start()
        _wait_for(lambda context=context: context in waiting._waiting)
    _wait_for(lambda: any(each.is_cancelled for each in contexts))
    assert [each.is_cancelled for each in contexts] == [True, False, False]
    for context in contexts:
        context.changed.set()
    for thread in threads:
        thread.join(10)
    assert [got[each] for each in contexts] == [None, b"message", b"message"]
    waiting.close()
