"""Downloads that break, against an HTTP server that breaks them."""

import hashlib
import http.server
import re
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ulmfit_tf.data import DataError, download, http_transfer

pytestmark = pytest.mark.serving
# More than one block, so that a break leaves some of it on disk.
CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, wrongly as told.

    Attributes:
        content: Bytes of the file.
        etag: Its ETag, or `None` to send none.
        ranges: Whether it answers ranges; otherwise it sends everything.
        misplaced: Whether it answers a range with the file's beginning.
        breaks: For each answer, after how many bytes it ends; `None` for an
            answer that is whole.
        errors: HTTP errors to answer with first.
        asked: `Range` and `If-Range` of each request.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.ranges = True
        self.misplaced = False
        self.breaks = []
        self.errors = []
        self.asked = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/files/a.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers["Range"], self.headers["If-Range"]
        server.asked.append(asked)
        if server.errors:
            return self.send_error(server.errors.pop(0))
        content, start = server.content, 0
        same = self.headers["If-Range"] in (None, server.etag)
        if server.ranges and asked[0] and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked[0])[1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if server.misplaced:
                start = 0
            self.send_response(206)
            last = len(content) - 1
            self.send_header(
                "Content-Range", f"bytes {start}-{last}/{len(content)}"
            )
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = server.breaks.pop(0) if server.breaks else None
        self.wfile.write(content[start:][:stop])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    # The folder's other tests have no network; these have the loopback.
    monkeypatch.setattr(download, "fetch_rest", http_transfer.fetch_rest)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "a.bin"


def test_a_broken_download_goes_on_where_it_broke(server, target, caplog):
    server.breaks = [100_000, 50_000]
    download.download(server.address, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert server.asked == [
        (None, None),
        ("bytes=100000-", '"one"'),
        ("bytes=150000-", '"one"'),
    ]
    assert [path.name for path in target.parent.iterdir()] == ["a.bin"]
    assert "100,000 of 300,000 bytes" in caplog.text


def test_a_later_call_goes_on_where_the_last_one_gave_up(server, target):
    server.breaks = [100_000, 0, 0]
    with pytest.raises(OSError, match="The 100,000 bytes that arrived are k"):
        download.download(server.address, target, SHA256)
    assert not target.exists()
    download.download(server.address, target, SHA256)
    assert server.asked[-1] == ("bytes=100000-", '"one"')
    assert target.read_bytes() == CONTENT


def test_progress_starts_the_count_of_failures_anew(server, target):
    server.breaks = [10_000] * 20
    download.download(server.address, target, SHA256)
    assert len(server.asked) == 21
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_everything_again(server, target):
    server.ranges = False
    server.breaks = [100_000, 200_000]
    download.download(server.address, target, SHA256)
    assert [bool(asked) for asked, _ in server.asked] == [False, True, True]
    assert target.read_bytes() == CONTENT


def test_a_server_that_breaks_at_the_same_place_is_given_up(server, target):
    server.ranges = False
    server.breaks = [100_000] * 99
    with pytest.raises(OSError, match="100,000 of 300,000"):
        download.download(server.address, target, SHA256)
    assert len(server.asked) == download.ATTEMPTS


def test_another_part_than_the_one_asked_for_is_not_appended(server, target):
    server.breaks = [100_000]
    server.misplaced = True
    download.download(server.address, target)
    assert target.read_bytes() == CONTENT
    assert [asked for asked, _ in server.asked] == [
        None,
        "bytes=100000-",
        None,
    ]


@pytest.mark.parametrize("etag", ['"two"', None], ids=["marked", "unmarked"])
def test_a_file_that_changed_is_not_pieced_together(server, target, etag):
    # Without a published hash only the server can tell.
    if etag is None:
        server.etag = None
    server.breaks = [100_000, 0, 0]
    with pytest.raises(OSError):
        download.download(server.address, target)
    changed = CONTENT[::-1]
    server.content, server.etag = changed, etag
    download.download(server.address, target)
    assert target.read_bytes() == changed


def test_parts_with_a_wrong_hash_are_fetched_anew_once(server, target, caplog):
    target.parent.mkdir()
    partial = target.with_name("a.bin.partial")
    partial.write_bytes(b"x" * 100_000)
    download.download(server.address, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert [asked for asked, _ in server.asked] == ["bytes=100000-", None]
    assert "fetched anew" in caplog.text


@pytest.mark.parametrize("part", [0, 100_000], ids=["whole", "in_parts"])
def test_a_wrong_file_is_refused_and_not_kept(server, target, part):
    server.content = CONTENT[::-1]
    target.parent.mkdir()
    target.with_name("a.bin.partial").write_bytes(CONTENT[:part])
    with pytest.raises(DataError, match=f"Expected sha256: {SHA256}. Rec"):
        download.download(server.address, target, SHA256)
    assert len(server.asked) == (2 if part else 1)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(CONTENT, id="whole"),
        pytest.param(CONTENT + b"x", id="longer"),
        pytest.param(CONTENT[:-1] + b"x", id="damaged"),
    ],
)
def test_a_part_as_long_as_the_file(server, target, part):
    target.parent.mkdir()
    target.with_name("a.bin.partial").write_bytes(part)
    download.download(server.address, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert len(server.asked) == (1 if part == CONTENT else 2)


@pytest.mark.parametrize(
    "errors, requests",
    [([503, 429], 3), ([503, 503, 503], 3), ([404], 1), ([403], 1)],
)
def test_http_errors(server, target, errors, requests):
    server.errors = list(errors)
    if len(errors) == requests:
        with pytest.raises(OSError, match=f"a.bin`: HTTP Error {errors[-1]}"):
            download.download(server.address, target, SHA256)
    else:
        download.download(server.address, target, SHA256)
        assert target.read_bytes() == CONTENT
    assert len(server.asked) == requests


def test_a_refused_connection(target, server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(OSError, match="Connection refused"):
            download.download(f"http://127.0.0.1:{port}/a", target, SHA256)


_DOWNLOAD = """
import pathlib, sys
from ulmfit_tf.data import download
download.download(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3])
"""


def test_a_killed_process_leaves_what_arrived(server, target):
    # The server holds the rest back until the process is gone.
    gone = threading.Event()

    def send_some_and_wait(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT[:100_000])
        gone.wait(30)

    do_get, Handler.do_GET = Handler.do_GET, send_some_and_wait
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _DOWNLOAD]
            + [server.address, str(target), SHA256]
        )
        partial = target.with_name("a.bin.partial")
        deadline = time.monotonic() + 30
        while not (partial.exists() and partial.stat().st_size > 60_000):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
    finally:
        gone.set()
        Handler.do_GET = do_get
    kept = partial.stat().st_size
    assert not target.exists()
    download.download(server.address, target, SHA256)
    assert server.asked == [(f"bytes={kept}-", None)]
    assert target.read_bytes() == CONTENT


def test_two_processes_fetch_it_once(server, target):
    arguments = [server.address, str(target), SHA256]
    processes = [
        subprocess.Popen([sys.executable, "-c", _DOWNLOAD, *arguments])
        for _ in range(2)
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(server.asked) == 1
    assert target.read_bytes() == CONTENT
