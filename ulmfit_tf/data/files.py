"""Text files, plain or compressed, as lines of Unicode."""

import contextlib
import gzip
import logging
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ulmfit_tf.data.errors import DataError

logger = logging.getLogger(__name__)

COMPRESSIONS: dict[str, Callable] = {".gz": gzip.open, ".xz": lzma.open}

_OPENERS: dict[str, Callable] = {**COMPRESSIONS, ".tgz": gzip.open}

# What `gzip`, `lzma` and `zlib` raise on a file cut short or damaged.
_DAMAGE = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)


def data_suffix(path: Path) -> str:
    """Returns the suffix that tells the format: `.csv` for `a.csv.gz`."""
    if path.suffix.lower() in COMPRESSIONS:
        path = path.with_suffix("")
    return path.suffix.lower()


@contextlib.contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Opens a plain, `.gz`, `.tgz` or `.xz` file to read its bytes.

    Raises:
        DataError: If the file cannot be read or its compression is damaged;
            also when the damage shows only while the caller reads.
    """
    opener = _OPENERS.get(path.suffix.lower(), open)
    try:
        with opener(path, "rb") as file:
            yield file
    except _DAMAGE as error:
        raise DataError(
            f"`{path}` is damaged or cut short. Expected: a complete "
            f"`{path.suffix}` file. Received: {error}. Delete it and fetch "
            "or compress it again."
        ) from error
    except OSError as error:
        raise DataError(
            f"`{path}` could not be read: {error}. Check the path and its "
            "permissions."
        ) from error


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Streams the lines of a plain, `.gz` or `.xz` text file.

    Raises:
        DataError: If the file cannot be read, is damaged or holds UTF-16.
    """
    with open_binary(path) as file:
        yield from decode_lines(path, file, encoding)


def decode_lines(
    where: object, lines: Iterable[bytes], encoding: str = "utf-8"
) -> Iterator[str]:
    """Streams lines as Unicode, line ends included.

    Bytes that are not valid in `encoding` become U+FFFD, and a warning says
    how many there were. A byte order mark is dropped.

    Args:
        where: What the lines come from, for messages.
        lines: The encoded lines.
        encoding: Encoding of the lines.

    Raises:
        DataError: If the lines are UTF-16.
    """
    undecodable = 0
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = without_byte_order_mark(where, line)
        text, replaced = decode(line, encoding)
        undecodable += replaced
        yield text
    warn_of_undecodable(where, undecodable, encoding)


def decode(content: bytes, encoding: str = "utf-8") -> tuple[str, int]:
    """Decodes bytes; returns the text and how many bytes were replaced."""
    try:
        return content.decode(encoding), 0
    except UnicodeDecodeError:
        text = content.decode(encoding, errors="surrogateescape")
    escaped = sum("\udc80" <= character <= "\udcff" for character in text)
    return content.decode(encoding, errors="replace"), escaped


def warn_of_undecodable(where: object, count: int, encoding: str = "utf-8"):
    """Logs how many bytes of a file or archive had to be replaced."""
    if count:
        logger.warning(
            "%s: %d bytes are not valid %s and were replaced by U+FFFD. If "
            "the file has another encoding, convert it: "
            "iconv -f ENCODING -t UTF-8.",
            where,
            count,
            encoding.upper(),
        )


def without_byte_order_mark(where: object, line: bytes) -> bytes:
    """Removes UTF-8's mark from the first bytes of a file.

    Raises:
        DataError: If they are UTF-16's.
    """
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"`{where}` is encoded as UTF-16. Expected: UTF-8. Convert it: "
            "iconv -f UTF-16 -t UTF-8."
        )
    return line.removeprefix(b"\xef\xbb\xbf")
