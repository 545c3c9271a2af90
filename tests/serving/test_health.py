"""gRPC's health service, asked by hand and by gRPC's own clients."""

import concurrent.futures
import threading

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
    name = "tensorflow.serving.PredictionService"
    assert call(_request(name), timeout=20).status == SERVING
    with pytest.raises(grpc.RpcError) as raised:
        call(_request("absent"), timeout=20)
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
