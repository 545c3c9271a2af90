"""Threads of gRPC calls: predictions have their own, and not too many wait."""

import concurrent.futures
import threading

import grpc

# Predictions that may wait for each that is computed. What comes then is
# refused: it would wait longer than it takes.
_WAITING_PER_WORKER = 3


class _CountingPool(concurrent.futures.ThreadPoolExecutor):
    """Threads that know how much they have been given and not finished."""

    def __init__(self, max_workers):
        super().__init__(max_workers)
        self._most_under_way = max_workers * (1 + _WAITING_PER_WORKER)
        self._under_way = 0
        self._lock = threading.Lock()

    def submit(self, function, /, *arguments, **keywords):
        """Runs a function in a thread, see the base class."""
        with self._lock:
            self._under_way += 1
        try:
            future = super().submit(function, *arguments, **keywords)
        except RuntimeError:
            self._finished()
            raise
        future.add_done_callback(self._finished)
        return future

    def is_full(self):
        """Whether as much is under way as may be."""
        with self._lock:
            return self._under_way >= self._most_under_way

    def _finished(self, _=None):
        with self._lock:
            self._under_way -= 1


class Workers(grpc.ServerInterceptor):
    """Gives predictions threads of their own and refuses what is too much.

    All other calls are answered at once in the server's own threads, so that
    health and status are told however many predictions there are. A call
    over the bound gets `UNAVAILABLE`, as from TF Serving's full batching
    queue: nothing of it was computed, and clients send it again later.

    Args:
        methods: Sequence of str, full names of the calls that predict.
        max_workers: Int, predictions answered at the same time.
        count_refused: Callable without arguments.
    """

    def __init__(self, methods, max_workers, count_refused):
        self._methods = frozenset(methods)
        self._pool = _CountingPool(max_workers)
        self._count_refused = count_refused

    def intercept_service(self, continuation, handler_call_details):
        """Returns the handler of a call."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method not in self._methods:
            return handler
        if self._pool.is_full():
            return self._refusal(method)

        def predict(request, context):
            return handler.unary_unary(request, context)

        # grpcio's own way of choosing a call's threads.
        predict.experimental_thread_pool = self._pool
        return grpc.unary_unary_rpc_method_handler(
            predict, handler.request_deserializer, handler.response_serializer
        )

    def _refusal(self, method):
        def refuse(requests, context):
            self._count_refused()
            context.abort(
                grpc.StatusCode.UNAVAILABLE,
                "Too many requests are under way. Send it again later.",
            )

        # As if it were a stream: what is sent need not be read.
        return grpc.stream_unary_rpc_method_handler(refuse)
