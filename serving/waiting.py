"""Who waits for an answer, and for how long."""

import concurrent.futures
import threading
import time

import grpc

from serving.status import ServingError

# A longer wait is one without an end: gRPC says "no deadline" by some 10^18
# seconds, and neither locks nor TensorFlow can count that far.
_LONGEST_SECONDS = 365 * 24 * 3600.0
# gRPC ends a call a moment before or after its deadline on our clock.
_SLACK_SECONDS = 0.1


class Waiter:
    """The one who asked: waits until its deadline, or until it leaves.

    Args:
        timeout_seconds: Float, or `None` for no limit.
    """

    def __init__(self, timeout_seconds=None):
        self._deadline = None
        if timeout_seconds is not None and timeout_seconds < _LONGEST_SECONDS:
            self._deadline = time.monotonic() + timeout_seconds
        self._changed = threading.Condition()
        self._has_left = False

    def remaining(self):
        """Returns the seconds until the deadline, `None` if there is none."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic())

    def leave(self):
        """Says that the answer is not wanted any more."""
        with self._changed:
            self._has_left = True
            self._changed.notify_all()

    def wake(self):
        """Makes `wait_until` look again."""
        with self._changed:
            self._changed.notify_all()

    def is_gone(self):
        """Whether the answer would come too late."""
        return self._has_left or self.remaining() == 0

    def check(self):
        """Raises a `ServingError` if the answer would come too late."""
        if self.is_gone():
            raise self.error()

    def wait_until(self, is_done):
        """Waits for something that `wake` tells of.

        Args:
            is_done: Callable without arguments, whether it has happened.

        Raises:
            ServingError: If the waiter is gone before.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: is_done() or self._has_left, self.remaining()
            )
        if not is_done():
            raise self.error()

    def wait_for(self, function, when_done=lambda: None):
        """Calls a function in a thread of its own.

        Args:
            function: Callable without arguments.
            when_done: Callable without arguments, called when the function
                has ended, whoever still waits, or cannot be called.

        Returns:
            What the function returns.

        Raises:
            ServingError: If the waiter is gone before, and the function goes
                on, or if there is no thread to be had.
        """
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.add_done_callback(lambda _: when_done())
        future.add_done_callback(lambda _: self.wake())

        def run():
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:
            future.set_exception(
                ServingError(
                    grpc.StatusCode.UNAVAILABLE,
                    "No thread can be started. Send it again later.",
                )
            )
        self.wait_until(future.done)
        return future.result()

    def error(self):
        """Returns the `ServingError` of who is gone."""
        remaining = self.remaining()
        if remaining is None or remaining > _SLACK_SECONDS:
            return ServingError(grpc.StatusCode.CANCELLED, "Cancelled")
        return ServingError(
            grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded"
        )
