"""gRPC's health service: Check, and Watch, which tells of each change."""

import concurrent.futures
import threading
import time

import grpc
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

from serving.workers import Threads

_HEALTH = "grpc.health.v1"
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3
# Between looks whether a watched state has changed.
_WATCH_SECONDS = 0.2
# After which a watcher that does not take what it was sent is dropped, and
# those that the end takes at most, told twice.
_SLOW_SECONDS = 5
_END_SECONDS = 1
# Watchers that are told at the same time.
_SENDERS = 32


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


class _Watcher:
    """One who is told, and what it was told last."""

    def __init__(self, service, context, send):
        self.service = service
        self.context = context
        self.told = None
        self._send = send
        self._telling = None
        self._since = 0.0

    def tell(self, senders, status, is_last=False):
        """Sends a status, if it is another one, in another thread."""
        self._since = time.monotonic()
        self._telling = senders.submit(self._tell, status, is_last)

    def is_being_told(self):
        """Whether what was sent has not been taken yet."""
        return self._telling is not None and not self._telling.done()

    def is_slow(self):
        """Whether what was sent should have been taken by now."""
        late = time.monotonic() - self._since > _SLOW_SECONDS
        return late and self.is_being_told()

    def wait(self, seconds):
        """Waits until it has been told, or for as long as given."""
        if self._telling is not None:
            concurrent.futures.wait([self._telling], max(0.0, seconds))

    def _tell(self, status, is_last):
        if status != self.told:
            self.told = status
            # Waits for room on the way, which the watcher makes.
            self._send(HealthCheckResponse(status=status))
        if is_last:
            self._send(None)


class HealthService:
    """Says whether requests are taken, to any number of watchers.

    As in gRPC's own service of C++ servers, which TF Serving turns on, only
    the server as a whole has a status, under the empty name.

    Args:
        is_ready: Callable without arguments, whether requests are taken.
    """

    def __init__(self, is_ready):
        self._is_ready = is_ready
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._watchers = set()
        self._thread = None
        # Each is told in a thread: one that does not listen blocks its own.
        self._senders = Threads(_SENDERS)

    def handler(self):
        """Returns the generic handler of the service."""

        def watch(request, context, send):
            self._watch(request, context, send)

        # Or each watcher would occupy a thread for as long as it stays.
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
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
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            watchers = list(self._watchers)
        if self._thread is not None:
            self._thread.join()
        _wait_for(watchers)
        for watcher in watchers:
            if not watcher.is_being_told():
                status = self._status(watcher.service)
                watcher.tell(self._senders, status, is_last=True)
        _wait_for(watchers)
        for watcher in watchers:
            if watcher.is_being_told():
                watcher.context.cancel()
        self._senders.shutdown(wait=False)

    def _check(self, request, context):
        status = self._status(request.service)
        if status == _SERVICE_UNKNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return HealthCheckResponse(status=status)

    def _status(self, service):
        if service:
            return _SERVICE_UNKNOWN
        return _SERVING if self._is_ready() else _NOT_SERVING

    def _watch(self, request, context, send):
        watcher = _Watcher(request.service, context, send)
        with self._lock:
            is_late = self._closing.is_set()
            if self._thread is None and not is_late:
                thread = threading.Thread(target=self._tell, daemon=True)
                # Where there is none to be had, the call fails.
                thread.start()
                self._thread = thread
            if not is_late:
                self._watchers.add(watcher)
        if is_late:
            context.abort(grpc.StatusCode.UNAVAILABLE, "The server stops.")
        if not context.add_callback(lambda: self._forget(watcher)):
            self._forget(watcher)

    def _forget(self, watcher):
        with self._lock:
            self._watchers.discard(watcher)

    def _tell(self):
        """Tells the watchers what has changed."""
        while not self._closing.wait(_WATCH_SECONDS):
            with self._lock:
                watchers = list(self._watchers)
            for watcher in watchers:
                status = self._status(watcher.service)
                if watcher.is_slow():
                    watcher.context.cancel()
                elif status != watcher.told and not watcher.is_being_told():
                    watcher.tell(self._senders, status)


def _wait_for(watchers):
    """Gives watchers that are being told some time, all together."""
    end = time.monotonic() + _END_SECONDS
    for watcher in watchers:
        watcher.wait(end - time.monotonic())
