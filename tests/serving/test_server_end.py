"""The end of a server that did not go as it should."""

import threading
import time

from serving import model_server
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
