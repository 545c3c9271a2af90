"""The end of a server that did not go as it should."""

import signal
import socket
import threading
import time

import pytest

from serving import listening, memory, model_server, server_arguments
from serving import server as command
from serving.command_line import UserError
from serving.model_server import Server, ServerOptions


class _Dead:
    """gRPC's server after its thread has died."""

    def stop(self, grace):
        return threading.Event()


def test_the_end_comes_where_grpc_s_never_does(monkeypatch):
    monkeypatch.setattr(model_server, "_CANCEL_SECONDS", 0.1)
    server = Server([], ServerOptions())
    server._grpc = _Dead()
    started = time.monotonic()
    server.stop(0.1)
    assert time.monotonic() - started < 10


@pytest.mark.serving
def test_a_start_that_fails_leaves_nothing_behind():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server([], ServerOptions(port=0, rest_port=port))
        with pytest.raises(UserError, match=f"--rest-api-port {port}"):
            server.start()
    # gRPC's was opened before.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=20)
    server.stop()


class _Signalled:
    """A server that is told to end, and again while it waits."""

    graces: list = []

    def __init__(self, sources, options):
        pass

    def start(self):
        signal.raise_signal(signal.SIGTERM)

    def interrupt(self):
        pass

    def stop(self, grace="patient"):
        self.graces.append(grace)
        if len(self.graces) == 1:
            signal.raise_signal(signal.SIGINT)


def test_the_second_signal_ends_the_grace(monkeypatch):
    monkeypatch.setattr(
        server_arguments, "parse_arguments", lambda _: ([], ServerOptions())
    )
    monkeypatch.setattr(model_server, "Server", _Signalled)
    monkeypatch.setattr(listening, "check_addresses", lambda options: None)
    monkeypatch.setattr(listening, "allow_many_connections", lambda: None)
    monkeypatch.setattr(memory, "return_large_blocks", lambda: None)
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        command.main([])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert _Signalled.graces == ["patient", 0]
