"""gRPC's health service, asked by hand and by gRPC's own clients."""

import concurrent.futures
import contextlib
import socket
import threading
import time

import grpc
import pytest

from serving import health

pytestmark = pytest.mark.serving

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


def _call(channel, kind, name):
    return getattr(channel, kind)(
        f"/grpc.health.v1.Health/{name}",
        request_serializer=health.HealthCheckRequest.SerializeToString,
        response_deserializer=health.HealthCheckResponse.FromString,
    )


def _request(service=""):
    return health.HealthCheckRequest(service=service)


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


def test_check(channel):
    call = _call(channel, "unary_unary", "Check")
    assert call(_request(), timeout=20).status == SERVING
    # gRPC's own service in C++ knows the server as a whole alone.
    for name in ("absent", "tensorflow.serving.PredictionService"):
        with pytest.raises(grpc.RpcError) as raised:
            call(_request(name), timeout=20)
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_watch_of_an_unknown_service(channel):
    watching = _call(channel, "unary_stream", "Watch")(_request("absent"))
    assert next(watching).status == SERVICE_UNKNOWN
    watching.cancel()


@pytest.fixture
def changing():
    """A server of health alone; `ready` is what it says."""
    ready = threading.Event()
    service = health.HealthService(ready.is_set)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([service.handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    service.port = port
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel, ready, service
    server.stop(None)


def test_watchers_hear_of_each_change_and_of_the_end(changing):
    channel, ready, service = changing
    watch = _call(channel, "unary_stream", "Watch")
    # More than there are threads.
    watchers = [watch(_request(), timeout=20) for _ in range(20)]
    assert {next(each).status for each in watchers} == {NOT_SERVING}
    ready.set()
    assert {next(each).status for each in watchers} == {SERVING}
    watchers.pop().cancel()
    check = _call(channel, "unary_unary", "Check")
    assert check(_request(), timeout=20).status == SERVING
    ready.clear()
    assert {next(each).status for each in watchers} == {NOT_SERVING}
    service.close()
    assert [list(each) for each in watchers] == [[]] * 19
    # A hurried end comes after one with patience.
    service.close()


def test_grpcs_own_health_checking_waits_until_it_serves(changing):
    channel, ready, service = changing
    config = (
        '{"loadBalancingConfig": [{"round_robin": {}}],'
        ' "healthCheckConfig": {"serviceName": ""}}'
    )
    with grpc.insecure_channel(
        f"ipv4:127.0.0.1:{service.port}", [("grpc.service_config", config)]
    ) as checking:
        becoming_ready = grpc.channel_ready_future(checking)
        with pytest.raises(grpc.FutureTimeoutError):
            becoming_ready.result(timeout=1)
        ready.set()
        becoming_ready.result(timeout=20)


def _frame(kind, flags, stream, payload):
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


@contextlib.contextmanager
def _deaf_watchers(port, number):
    """Watchers that let the server send them nothing."""

    def field(name, value):
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value

    headers = b"".join(
        [
            field(b":method", b"POST"),
            field(b":scheme", b"http"),
            field(b":path", b"/grpc.health.v1.Health/Watch"),
            field(b":authority", b"localhost"),
            field(b"te", b"trailers"),
            field(b"content-type", b"application/grpc"),
        ]
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        # An initial window of no bytes.
        settings = (4).to_bytes(2, "big") + (0).to_bytes(4, "big")
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, settings)
        )
        for stream in range(1, 2 * number, 2):
            connection.sendall(
                _frame(1, 4, stream, headers) + _frame(0, 1, stream, bytes(5))
            )
        yield


def test_watchers_that_do_not_listen_keep_nobody_uninformed(changing):
    channel, ready, service = changing
    watch = _call(channel, "unary_stream", "Watch")
    early = watch(_request(), timeout=20)
    assert next(early).status == NOT_SERVING
    with _deaf_watchers(service.port, 5):
        time.sleep(1)
        late = watch(_request(), timeout=10)
        assert next(late).status == NOT_SERVING
        ready.set()
        assert [next(each).status for each in (early, late)] == [SERVING] * 2
        started = time.monotonic()
        service.close()
        assert time.monotonic() - started < 5
        assert [list(each) for each in (early, late)] == [[], []]


def test_a_watcher_that_does_not_listen_is_dropped(changing, monkeypatch):
    monkeypatch.setattr(health, "_SLOW_SECONDS", 2.0)
    channel, ready, service = changing
    with _deaf_watchers(service.port, 2):
        for number in (2, 0):
            limit = time.monotonic() + 10
            while len(service._watchers) != number:
                assert time.monotonic() < limit
                time.sleep(0.02)
    service.close()
