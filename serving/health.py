"""gRPC's health service: Check, and Watch, which tells of each change."""

import threading

import grpc
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

_HEALTH = "grpc.health.v1"
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3
_SERVICES = (
    "",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)
# Between looks whether a watched state has changed.
_WATCH_SECONDS = 0.2


def _declare():
    """Declares grpc.health.v1, which grpcio itself does not bring."""
    file = descriptor_pb2.FileDescriptorProto(
        name="ulmfit_tf/serving/health.proto",
        package=_HEALTH,
        syntax="proto3",
    )
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(
        name="service", number=1, label=1, type=9, json_name="service"
    )
    response = file.message_type.add(name="HealthCheckResponse")
    # An enum on the wire; no name is needed here.
    response.field.add(
        name="status", number=1, label=1, type=5, json_name="status"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return [
        message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{_HEALTH}.{name}")
        )
        for name in ("HealthCheckRequest", "HealthCheckResponse")
    ]


HealthCheckRequest, HealthCheckResponse = _declare()


class HealthService:
    """Says whether requests are taken, to any number of watchers.

    Args:
        is_ready: Callable without arguments, whether requests are taken.
    """

    def __init__(self, is_ready):
        self._is_ready = is_ready
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._watchers = {}
        self._thread = None

    def handler(self):
        """Returns the generic handler of the service."""

        def watch(request, context, send):
            self._watch(request, context, send)

        # Or each watcher would occupy a thread for as long as it stays.
        watch.experimental_non_blocking = True
        codec = (
            HealthCheckRequest.FromString,
            HealthCheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(
            f"{_HEALTH}.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self._check, *codec
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(watch, *codec),
            },
        )

    def close(self):
        """Tells the watchers that it ends, and ends their calls."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _check(self, request, context):
        if request.service not in _SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(status=self._status(request.service))

    def _status(self, service):
        if service not in _SERVICES:
            return _SERVICE_UNKNOWN
        return _SERVING if self._is_ready() else _NOT_SERVING

    def _watch(self, request, context, send):
        with self._lock:
            self._watchers[send] = (request.service, None)
            if self._thread is None:
                self._thread = threading.Thread(target=self._tell, daemon=True)
                self._thread.start()
        if not context.add_callback(lambda: self._forget(send)):
            self._forget(send)

    def _forget(self, send):
        with self._lock:
            self._watchers.pop(send, None)

    def _tell(self):
        """Tells all watchers, one after the other, what has changed."""
        while not self._closing.wait(_WATCH_SECONDS):
            self._tell_changes()
        self._tell_changes()
        for send in list(self._watchers):
            send(None)

    def _tell_changes(self):
        with self._lock:
            watchers = dict(self._watchers)
        for send, (service, told) in watchers.items():
            status = self._status(service)
            if status == told:
                continue
            with self._lock:
                if send in self._watchers:
                    self._watchers[send] = (service, status)
            # Does nothing when the watcher has gone.
            send(HealthCheckResponse(status=status))
