"""Bodies of HTTP requests: plain, in chunks, compressed."""

import zlib

_HEXADECIMAL = b"0123456789abcdefABCDEF"
# Of a line that tells a chunk's size, and of all that follow the last chunk.
_MOST_LINE = 4096
_MOST_TRAILERS = 65536


class BodyError(Exception):
    """A body that is not read, with the HTTP status to answer.

    Args:
        status: Int.
        message: Str.
    """

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def read_body(headers, stream, max_bytes):
    """Reads a request's body.

    Without a length there is none (RFC 9112, section 6.3). As in TF Serving,
    a compressed one is unpacked, and one that cannot be is empty.

    Args:
        headers: Mapping of the request's headers.
        stream: Binary file that is at the body's beginning.
        max_bytes: Int, of the body at most, unpacked.

    Returns:
        Bytes.

    Raises:
        BodyError: If it is too large, or its length is told wrongly.
    """
    length = headers.get("Content-Length")
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        # Both together is how requests are smuggled past proxies.
        if length is not None or coding.strip().lower() != "chunked":
            raise BodyError(400, "The length of the body is not clear.")
        body = _read_chunks(stream, max_bytes)
    else:
        length = length or "0"
        if not (length.isascii() and length.isdecimal()):
            raise BodyError(400, "The length of the body is no number.")
        # Python refuses to convert thousands of digits.
        if len(length) > 18 or int(length) > max_bytes:
            raise _too_large(max_bytes)
        body = stream.read(int(length))
    if "gzip" in headers.get("Content-Encoding", "").lower():
        return _unpacked(body, max_bytes)
    return body


def _read_chunks(stream, max_bytes):
    body = bytearray()
    while size := _chunk_size(stream.readline(_MOST_LINE)):
        if len(body) + size > max_bytes:
            raise _too_large(max_bytes)
        chunk = stream.read(size)
        if len(chunk) < size or stream.readline(3).strip(b"\r\n"):
            raise BodyError(400, "A chunk of the body is not as long as told.")
        body += chunk
    trailers = 0
    while (line := stream.readline(_MOST_LINE)).strip(b"\r\n"):
        trailers += len(line)
        if trailers > _MOST_TRAILERS:
            raise BodyError(400, "Too much follows the body.")
    return bytes(body)


def _chunk_size(line):
    # Extensions follow a semicolon; nobody uses them.
    digits = line.split(b";", 1)[0].strip()
    if not digits or len(digits) > 15 or digits.strip(_HEXADECIMAL):
        raise BodyError(400, "The size of a chunk is no hexadecimal number.")
    return int(digits, 16)


def _unpacked(body, max_bytes):
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        # A small body may unpack to gigabytes.
        content = unpacker.decompress(body, max_bytes + 1)
    except zlib.error:
        return b""
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content if unpacker.eof else b""


def _too_large(max_bytes):
    return BodyError(
        413, f"This server reads bodies of 0 to {max_bytes} bytes."
    )
