"""Where the server listens when it is not told."""

import logging
import signal
import socket

import pytest

from serving import listening, memory, model_server, server_arguments
from serving import server as command
from serving.model_server import ServerOptions


def test_only_this_machine_is_listened_to_by_default(tmp_path):
    _, options = server_arguments.parse_arguments(
        ["--model-base-path", str(tmp_path)]
    )
    assert options.host == "127.0.0.1"
    assert ServerOptions().host == "127.0.0.1"
    # REST and plain text are nobody's default.
    assert (options.rest_port, options.tls) == (None, None)


def test_another_host_is_listened_to_when_it_is_given(tmp_path):
    _, options = server_arguments.parse_arguments(
        ["--model-base-path", str(tmp_path), "--host", "0.0.0.0"]
    )
    assert options.host == "0.0.0.0"


@pytest.mark.serving
def test_by_default_both_ports_are_of_the_loopback_address(server):
    for port in (server.port, server.rest_port):
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
        # An address of this machine too, as any network's would be.
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=20)


class _Started(Exception):
    pass


class _Server:
    def __init__(self, sources, options):
        pass

    def start(self):
        raise _Started

    def stop(self):
        pass


@pytest.mark.parametrize(
    "host, tls, is_told",
    [
        (ServerOptions.host, None, False),
        ("localhost", None, False),
        ("::1", None, False),
        ("127.0.0.2", None, False),
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.0.2.1", None, True),
        ("models.example.org", None, True),
        ("0.0.0.0", object(), False),
    ],
)
def test_plain_text_for_other_machines_is_told(
    host, tls, is_told, monkeypatch, caplog
):
    options = ServerOptions(host=host, tls=tls)
    monkeypatch.setattr(
        server_arguments, "parse_arguments", lambda argv: ([], options)
    )
    # Nothing is opened, and this process stays as it is.
    monkeypatch.setattr(model_server, "Server", _Server)
    monkeypatch.setattr(listening, "check_addresses", lambda options: None)
    monkeypatch.setattr(listening, "allow_many_connections", lambda: None)
    monkeypatch.setattr(memory, "return_large_blocks", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(_Started):
        command.main([])
    told = [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]
    assert [f"Listening on {host} without TLS" in each for each in told] == (
        [True] if is_told else []
    )
