"""Threads of gRPC calls where the system has no more of them."""

import threading

import grpc
import pytest

from serving import health
from serving.workers import Threads, Workers


@pytest.fixture
def no_more_threads(monkeypatch):
    """Returns a function from which on no thread can be started."""

    def fail(thread):
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(threading.Thread, "start", fail)


def test_what_has_no_thread_of_its_own_waits_for_another(no_more_threads):
    threads = Threads(4)
    may_end = threading.Event()
    busy = threads.submit(may_end.wait, 20)
    no_more_threads()
    waiting = [threads.submit(pow, 2, number) for number in range(3)]
    may_end.set()
    assert busy.result(20)
    assert [each.result(20) for each in waiting] == [1, 2, 4]


def test_one_thread_is_needed(no_more_threads):
    no_more_threads()
    with pytest.raises(RuntimeError, match="new thread"):
        Threads(4)


_start = threading.Thread.start


def _start_if_not_of_a_pool(thread):
    # Those of pools are named so.
    if thread.name.startswith("ThreadPoolExecutor"):
        raise RuntimeError("can't start new thread")
    _start(thread)


@pytest.mark.serving
def test_calls_are_taken_when_no_thread_can_be_started(monkeypatch):
    """grpcio's loop would end with the error, and all calls time out."""
    workers = Workers((), 1, lambda: None)
    service = health.HealthService(lambda: True)
    server = grpc.server(workers.threads, interceptors=[workers])
    server.add_generic_rpc_handlers([service.handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    # The client of this test has threads, too.
    monkeypatch.setattr(threading.Thread, "start", _start_if_not_of_a_pool)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            response_deserializer=health.HealthCheckResponse.FromString,
        )
        for _ in range(3):
            assert call(b"", timeout=10).status == 1
    monkeypatch.undo()
    workers.close()
    assert server.stop(0).wait(10)
