"""The end of a server that did not go as it should."""

import socket
import threading
import time

import pytest

from serving import model_server
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
