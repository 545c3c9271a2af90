"""Messages of gRPC calls, which may be neither too slow nor too many."""

import threading
import time

# Seconds that a message may take, as over REST, and once the server stops.
_ARRIVAL_SECONDS = 60
_STOPPING_SECONDS = 1
# Between looks whether one has taken too long.
_LOOK_SECONDS = 0.5


class Arrivals:
    """Receives the messages of calls, each in the thread of its call.

    A client may begin a call and never send its message, and grpcio waits
    for it without a limit. A call that takes too long is cancelled, and so is
    the one that has waited longest when there are too many: it is the least
    likely to send anything.

    Args:
        most: Int, messages waited for at the same time.
    """

    def __init__(self, most):
        self._most = most
        self._limit = _ARRIVAL_SECONDS
        self._lock = threading.Lock()
        # When each call's wait began, the longest one first.
        self._waiting = {}
        self._closing = False
        threading.Thread(target=self._cancel_late, daemon=True).start()

    def receive(self, requests, context):
        """Returns the message of a call, `None` if there is none.

        Args:
            requests: Iterator over the call's messages.
            context: `grpc.ServicerContext`.

        Raises:
            grpc.RpcError: If the call was cancelled, here or by the client.
        """
        too_many = None
        with self._lock:
            self._waiting[context] = time.monotonic()
            if len(self._waiting) > self._most:
                too_many = next(iter(self._waiting))
                del self._waiting[too_many]
        if too_many is not None:
            too_many.cancel()
        try:
            return next(requests, None)
        finally:
            with self._lock:
                self._waiting.pop(context, None)

    def close(self):
        """Lets what is on its way arrive, if it does so at once."""
        self._closing = True
        self._limit = _STOPPING_SECONDS

    def _cancel_late(self):
        while self._waiting or not self._closing:
            time.sleep(_LOOK_SECONDS)
            latest = time.monotonic() - self._limit
            with self._lock:
                late = [
                    context
                    for context, begun in self._waiting.items()
                    if begun <= latest
                ]
            for context in late:
                context.cancel()
