"""Waiters with and without a deadline."""

import threading
import time

import grpc
import pytest

from serving.status import ServingError
from serving.waiting import Waiter


def _code(function):
    with pytest.raises(ServingError) as raised:
        function()
    return raised.value.code


# What gRPC says where there is no deadline, and what a client may ask for.
@pytest.mark.parametrize("timeout", [None, 9.223372035059145e18, 1e12])
def test_a_very_long_time_is_no_limit(timeout):
    waiter = Waiter(timeout)
    assert waiter.remaining() is None
    assert waiter.wait_for(lambda: 7) == 7


def test_a_function_that_fails_fails_for_the_waiter():
    with pytest.raises(KeyError):
        Waiter(9.0).wait_for({}.popitem)


def test_a_function_is_not_waited_for_beyond_the_deadline():
    forever = threading.Event()
    started = time.monotonic()
    code = _code(lambda: Waiter(0.2).wait_for(forever.wait))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.2 <= time.monotonic() - started < 5
    forever.set()


def test_a_function_for_which_there_is_no_thread(monkeypatch):
    def fail(thread):
        raise RuntimeError("can't start new thread")

    done = []
    monkeypatch.setattr(threading.Thread, "start", fail)
    waiter = Waiter(9.0)
    code = _code(lambda: waiter.wait_for(list, lambda: done.append(1)))
    # Clients send it again.
    assert code == grpc.StatusCode.UNAVAILABLE
    assert done == [1]


def test_the_end_of_a_function_is_told_once():
    done = []
    Waiter().wait_for(list, lambda: done.append(1))
    with pytest.raises(KeyError):
        Waiter().wait_for({}.popitem, lambda: done.append(2))
    assert done == [1, 2]


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_waiter_may_leave(timeout):
    forever, waiter = threading.Event(), Waiter(timeout)
    threading.Timer(0.1, waiter.leave).start()
    code = _code(lambda: waiter.wait_for(forever.wait))
    assert code == grpc.StatusCode.CANCELLED
    assert waiter.is_gone()
    assert _code(waiter.check) == grpc.StatusCode.CANCELLED
    forever.set()
