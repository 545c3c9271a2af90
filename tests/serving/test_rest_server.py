"""The HTTP server beside an API that answers when it is told to."""

import http.client
import threading
import time

import pytest

from serving.rest_server import RestServer


class _Waiting:
    """Answers a request when it is released; reports that it has come."""

    def __init__(self):
        self.arrived = threading.Event()
        self.released = threading.Event()

    def answer(self, method, path, body=b""):
        if path == "/slow":
            self.arrived.set()
            self.released.wait(20)
        return 200, "text/plain", b"x" * 100_000


@pytest.fixture
def api():
    api = _Waiting()
    yield api
    api.released.set()


@pytest.fixture
def server(api):
    server = RestServer(api, ("127.0.0.1", 0), 1000)
    server.start()
    return server


def _ask(connection, path):
    """Returns `(status, Connection header, body)`."""
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.getheader("Connection"), response.read()


def _connected(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, 20)
    connection.connect()
    return connection


def _in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def test_requests_under_way_are_answered_before_the_end(server, api):
    answers = []
    asking = _in_thread(
        lambda: answers.append(_ask(_connected(server), "/slow"))
    )
    assert api.arrived.wait(20)
    kept = _connected(server)
    assert _ask(kept, "/")[0] == 200
    stopping = _in_thread(server.stop, 20)
    stopping.join(0.7)
    assert stopping.is_alive()
    status, connection, body = _ask(kept, "/")
    assert (status, connection) == (503, "close")
    assert b"stopping" in body
    with pytest.raises(OSError):
        _connected(server)
    assert answers == []
    api.released.set()
    stopping.join(20)
    assert not stopping.is_alive()
    # Whoever stops the server may end the process now.
    asking.join(20)
    assert answers == [(200, "close", b"x" * 100_000)]


def test_the_end_waits_no_longer_than_its_grace(server, api):
    _in_thread(_ask, _connected(server), "/slow")
    assert api.arrived.wait(20)
    started = time.monotonic()
    server.stop(0.2)
    assert 0.2 <= time.monotonic() - started < 5
