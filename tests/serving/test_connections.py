"""Connections that come and go leave nothing behind in the server.

A few hundred by default. As a release check:

    FUZZ_REQUESTS=10000 pytest tests/serving/test_connections.py
"""

import contextlib
import os
import pathlib
import random
import resource
import socket
import struct
import time

import grpc
import pytest

from serving.grpc_client import Client

pytestmark = [pytest.mark.slow, pytest.mark.serving]

CONNECTIONS = int(os.environ.get("FUZZ_REQUESTS", 1000))
# Of those that come and go, at a time.
HELD = 100
# Open at the same time and silent; more than a process may have by default.
IDLE = 1500
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
# A HEADERS frame of stream 1 that says nothing more will follow, with bytes
# that are no header block.
_BROKEN_HEADERS = b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff"
# The head of a frame of 16 MB, of which nothing follows.
_HUGE_FRAME = b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"


def _resources(process):
    """Returns `(open files, threads, resident bytes)` of a process."""
    root = pathlib.Path(f"/proc/{process.pid}")
    status = dict(
        line.split(":", 1)
        for line in (root / "status").read_text().split("\n")
        if line
    )
    return (
        len(list((root / "fd").iterdir())),
        int(status["Threads"]),
        int(status["VmRSS"].split()[0]) * 1024,
    )


def _connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def _closed_at_once(connection, rng):
    pass


def _reset(connection, rng):
    # Lingering for no time sends RST in place of FIN.
    connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


def _half_of_a_preface(connection, rng):
    connection.sendall(_PREFACE[: rng.randrange(1, len(_PREFACE))])


def _no_request(connection, rng):
    connection.sendall(_PREFACE + _SETTINGS)


def _broken_frames(connection, rng):
    frames = [_BROKEN_HEADERS, _HUGE_FRAME, rng.randbytes(rng.randrange(99))]
    connection.sendall(_PREFACE + _SETTINGS + rng.choice(frames))


def _reset_after_a_request(connection, rng):
    _broken_frames(connection, rng)
    _reset(connection, rng)


def _half_of_a_rest_request(connection, rng):
    request = b"POST /v1/models/questions:predict HTTP/1.1\r\nContent-Length: 9"
    connection.sendall(request + rng.choice([b"", b"\r\n\r\n{", b"\r\n"]))


_WAYS = [
    _closed_at_once,
    _reset,
    _half_of_a_preface,
    _no_request,
    _broken_frames,
    _reset_after_a_request,
    _half_of_a_rest_request,
]


def _churn(addresses, number, rng):
    """Opens connections, in part many at a time, and drops them."""
    held = []
    for _ in range(number):
        connection = _connect(rng.choice(list(addresses.values())))
        # The server may hang up first.
        with contextlib.suppress(OSError):
            rng.choice(_WAYS)(connection, rng)
        held.append(connection)
        while len(held) > rng.choice([0, HELD]):
            held.pop(rng.randrange(len(held))).close()
    for connection in held:
        connection.close()


def test_connections_leave_nothing_behind(model_directory, start_server):
    process, addresses = start_server(
        *("--model-base-path", str(model_directory), "--rest-api-port", "0"),
    )
    rng = random.Random(0)
    with Client(addresses["grpc"], "questions", retries=0) as client:
        expected = client.predict(["who"])
        # What the first connections need stays.
        _churn(addresses, max(CONNECTIONS // 5, 4 * HELD), rng)
        files, threads, resident = _settled(process)
        _churn(addresses, CONNECTIONS, rng)
        after = _settled(process, files + 3, threads + 3)
        print((files, threads, resident), after)
        assert after[0] <= files + 3
        assert after[1] <= threads + 3
        assert after[2] <= 1.05 * resident
        # An old connection and a new one are both served.
        assert client.predict(["who"]) == expected
    with Client(addresses["grpc"], "questions", retries=0) as client:
        assert client.predict(["who"]) == expected
    assert process.poll() is None


def _settled(process, files=0, threads=0, seconds=20):
    """Returns the resources when they are as few as given, or after a time.

    Connections are taken down in threads of the server.
    """
    limit = time.monotonic() + seconds
    while True:
        resources = _resources(process)
        if time.monotonic() > limit or (
            resources[0] <= files and resources[1] <= threads
        ):
            return resources
        time.sleep(0.2)


@pytest.fixture
def few_open_files():
    """Gives processes that a test starts a common limit, not this one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * IDLE:
        pytest.skip(f"At most {hard} files may be open here.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections_keep_nobody_out(
    few_open_files, model_directory, start_server
):
    process, addresses = start_server(
        *("--model-base-path", str(model_directory), "--rest-api-port", "0"),
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * IDLE, hard))
    idle = [_connect(addresses["grpc"]) for _ in range(IDLE)]
    for connection in idle[::2]:
        connection.sendall(_PREFACE + _SETTINGS)
    try:
        with Client(addresses["grpc"], "questions", retries=0) as client:
            assert len(client.predict(["who", "what"])) == 2
        assert _resources(process)[0] > IDLE
    except grpc.RpcError as error:
        pytest.fail(f"{error.code()}: {error.details()}")
    finally:
        for connection in idle:
            connection.close()
