"""Threads of gRPC calls: silent ones hold none up, few predictions wait."""

import concurrent.futures
import contextlib
import threading

import grpc
from google.protobuf.message import DecodeError

from serving.arrivals import Arrivals

# Predictions that may wait for each that is computed. What comes then is
# refused: it would wait longer than it takes.
_WAITING_PER_WORKER = 3
# Calls whose message is on its way at the same time, as over REST.
_MOST_ARRIVING = 256
# Threads of the calls that compute nothing.
_CHEAP_WORKERS = 4


class Threads(concurrent.futures.ThreadPoolExecutor):
    """Threads that go on where the system has no more of them to give.

    grpcio takes all calls in one loop, which any error here would end.

    Args:
        most: Int, threads at the same time.
    """

    def __init__(self, most):
        super().__init__(most)
        # There is one at least to do what the others cannot.
        self.submit(int)

    def _adjust_thread_count(self):
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            # What was submitted is queued already, for those that there are.
            if not self._threads:
                raise


class Workers(grpc.ServerInterceptor):
    """Gives each call a thread and refuses predictions that are too many.

    There are threads for all messages that may be on their way and for all
    predictions that may be under way, so that health and status are told
    however many there are of either. A prediction over the bound gets
    `UNAVAILABLE`, as from TF Serving's full batching queue: nothing of it was
    computed, and clients send it again later.

    Args:
        methods: Sequence of str, full names of the calls that predict.
        max_workers: Int, predictions answered at the same time.
        count_refused: Callable without arguments.

    Attributes:
        threads: `Threads` for the server.
    """

    def __init__(self, methods, max_workers, count_refused):
        self._methods = frozenset(methods)
        self._most_under_way = max_workers * (1 + _WAITING_PER_WORKER)
        self._count_refused = count_refused
        self._arrivals = Arrivals(_MOST_ARRIVING)
        self._computing = threading.Semaphore(max_workers)
        self._under_way = 0
        self._lock = threading.Lock()
        # They are started when they are needed.
        self.threads = Threads(
            _MOST_ARRIVING + self._most_under_way + _CHEAP_WORKERS
        )

    def close(self):
        """Waits no longer for messages that do not come."""
        self._arrivals.close()

    def intercept_service(self, continuation, handler_call_details):
        """Returns the handler of a call."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        is_prediction = handler_call_details.method in self._methods

        def answer(requests, context):
            request = self._received(handler, requests, context)
            with self._place(context) if is_prediction else _NO_PLACE:
                return handler.unary_unary(request, context)

        def stream(requests, context, send):
            request = self._received(handler, requests, context)
            handler.unary_stream(request, context, send)

        # The thread is free again while the answers are sent.
        stream.experimental_non_blocking = True  # type: ignore[attr-defined]
        # As if the requests were streams: grpcio lets only those be waited
        # for in our own way.
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                stream, None, handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            answer, None, handler.response_serializer
        )

    def _received(self, handler, requests, context):
        content = self._arrivals.receive(requests, context)
        if content is None:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                "The call requires exactly one request message.",
            )
        try:
            return handler.request_deserializer(content)
        except DecodeError:
            context.abort(
                grpc.StatusCode.INTERNAL, "The request cannot be parsed."
            )

    @contextlib.contextmanager
    def _place(self, context):
        """Waits for the turn of a prediction, unless it is one too many."""
        with self._lock:
            is_full = self._under_way >= self._most_under_way
            self._under_way += not is_full
        if is_full:
            self._count_refused()
            context.abort(
                grpc.StatusCode.UNAVAILABLE,
                "Too many requests are under way. Send it again later.",
            )
        try:
            with self._computing:
                yield
        finally:
            with self._lock:
                self._under_way -= 1


_NO_PLACE = contextlib.nullcontext()
