"""Bodies of HTTP requests that come in pieces."""

import io
import time

import pytest

from serving.http_bodies import BodyError, read_body

CHUNKED = {"Transfer-Encoding": "chunked"}


def _chunked(pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces)


def test_chunks_are_joined():
    stream = io.BytesIO(_chunked([b"one", b" two", b""]) + b"rest")
    assert read_body(CHUNKED, stream, 7) == b"one two"
    assert stream.read() == b"rest"


def test_chunks_together_have_a_size_limit():
    stream = io.BytesIO(_chunked([b"one", b" two", b""]))
    with pytest.raises(BodyError, match="0 to 6 bytes"):
        read_body(CHUNKED, stream, 6)


def test_many_small_chunks_take_no_longer_than_a_few_large_ones():
    pieces = [b"x" * 100] * 100_000
    stream = io.BytesIO(_chunked([*pieces, b""]))
    started = time.process_time()
    body = read_body(CHUNKED, stream, 1 << 26)
    # Copying the body for each chunk took some minutes.
    assert time.process_time() - started < 5
    assert body == b"".join(pieces)
