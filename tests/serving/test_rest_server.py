"""The HTTP server beside an API that answers when it is told to."""

import contextlib
import http.client
import socket
import threading
import time

import pytest

from serving import rest_server
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
        content = body if path == "/echo" else b"x" * 100_000
        return 200, "text/plain", content


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


def _all(connection):
    return connection.makefile("rb").read()


def _socket(server):
    return socket.create_connection(("127.0.0.1", server.port), 20)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(rest_server, "_MAX_CONNECTIONS", 2)


def test_a_connection_too_many_is_told_and_later_there_is_room(few, api):
    server = RestServer(api, ("127.0.0.1", 0), 1000)
    server.start()
    kept = [_connected(server) for _ in range(2)]
    assert [_ask(each, "/")[0] for each in kept] == [200, 200]
    with contextlib.closing(_connected(server)) as refused:
        status, connection, body = _ask(refused, "/")
    assert (status, connection) == (503, "close")
    assert body == b'{"error": "Too many connections."}'
    kept.pop().close()
    limit = time.monotonic() + 20
    while True:
        # While those refused before are still being told, more are closed.
        with (
            contextlib.closing(_connected(server)) as connection,
            contextlib.suppress(ConnectionError),
        ):
            if _ask(connection, "/")[0] == 200:
                break
        assert time.monotonic() < limit
    server.stop(0)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"G", b"E", b"T", b" ", b"/", b" "] * 20,
        [b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n"] + [b"x"] * 100,
    ],
    ids=["head", "body"],
)
def test_a_request_has_to_arrive_in_time(server, monkeypatch, pieces):
    monkeypatch.setattr(rest_server, "_ARRIVAL_SECONDS", 0.6)
    started = time.monotonic()
    with _socket(server) as connection, pytest.raises(OSError):
        # Never silent for long.
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.05)
    assert 0.6 < time.monotonic() - started < 4


def test_waiting_for_a_request_is_not_its_arrival(server, monkeypatch):
    monkeypatch.setattr(rest_server, "_ARRIVAL_SECONDS", 0.3)
    connection = _connected(server)
    assert _ask(connection, "/")[0] == 200
    time.sleep(0.6)
    assert _ask(connection, "/")[0] == 200


def test_a_thread_that_cannot_start_takes_no_place(few, api, monkeypatch):
    server = RestServer(api, ("127.0.0.1", 0), 1000)
    server.start()

    def fail(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        for _ in range(5):
            with _socket(server) as connection:
                assert _all(connection) == b""
    assert _ask(_connected(server), "/")[0] == 200
    server.stop(0)


def test_the_body_of_a_get_is_no_request(server):
    with _socket(server) as connection:
        connection.sendall(
            b"GET /a HTTP/1.1\r\nContent-Length: 19\r\n\r\n"
            b"GET /b HTTP/1.1\r\n\r\n"
            b"GET /c HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        assert _all(connection).count(b"HTTP/1.1 200 ") == 2
