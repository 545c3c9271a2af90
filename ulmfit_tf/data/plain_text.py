"""Documents of plain text files: one a line, or blocks between blank lines."""

import io
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

from ulmfit_tf.data.files import decode_lines, open_binary

logger = logging.getLogger(__name__)

# What is looked at to tell the two kinds of files apart. Where blank lines
# make blocks of at most 20 lines each, they separate documents; fewer are
# strays in a file of one document a line.
_WINDOW_LINES = 2000
_LONGEST_BLOCK_LINES = 20
# Characters. What is longer is cut, so that memory stays flat.
_LONGEST_DOCUMENT = 1 << 20


def read_plain_text(path: Path) -> Iterator[str]:
    """Streams the documents of a text file.

    Blank lines separate documents if they cut the first 2,000 lines into
    blocks of at most 20 lines on average; otherwise each line is a document
    and blank lines mean nothing. A document of more than 1,048,576 characters
    becomes several.

    Args:
        path: A plain, `.gz` or `.xz` file.

    Raises:
        DataError: If the file cannot be read, is damaged or holds UTF-16.
    """
    blocks = _has_blocks(path)
    block: list[str] = []
    length = 0
    for line in _lines(path):
        blank = not line.strip()
        if block and (
            blank or not blocks or length + len(line) > _LONGEST_DOCUMENT
        ):
            yield "".join(block).rstrip("\r\n")
            block, length = [], 0
        if not blank:
            block.append(line)
            length += len(line)
    if block:
        yield "".join(block).rstrip("\r\n")


def _has_blocks(path):
    lines = separations = 0
    after_text = separated = False
    for line in itertools.islice(_lines(path), _WINDOW_LINES):
        if not line.strip():
            separated = after_text
            continue
        lines += 1
        separations += separated
        after_text, separated = True, False
    if not separations:
        return False
    if lines <= (separations + 1) * _LONGEST_BLOCK_LINES:
        return True
    logger.info("%s: few lines are blank, so each line is a document.", path)
    return False


def _lines(path):
    """Streams lines as Unicode, long ones in parts."""
    with open_binary(path) as file:
        # Cut as characters, since a cut between bytes would damage one.
        characters = io.TextIOWrapper(
            file, "utf-8", errors="surrogateescape", newline="\n"
        )
        parts = iter(lambda: characters.readline(_LONGEST_DOCUMENT), "")
        yield from decode_lines(
            path, (part.encode("utf-8", "surrogateescape") for part in parts)
        )
