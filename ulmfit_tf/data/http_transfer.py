"""The rest of a file over HTTP, after the part that arrived before."""

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0
_REPORT_SECONDS = 5.0
_BLOCK = 1 << 16
_MEGABYTE = 1e6


class TransferError(OSError):
    """A transfer that failed; what arrived is kept.

    Args:
        message: What went wrong.
        may_pass: Whether the same request may succeed later.
    """

    def __init__(self, message: str, may_pass: bool = True):
        super().__init__(message)
        self.may_pass = may_pass


def version_path(partial: Path) -> Path:
    """Returns where `fetch_rest` notes which version `partial` is of."""
    return partial.with_name(partial.name + ".version")


def discard(partial: Path):
    """Removes a part and the note of its version."""
    partial.unlink(missing_ok=True)
    version_path(partial).unlink(missing_ok=True)


def fetch_rest(address: str, partial: Path, hash_is_known: bool) -> bool:
    """Appends to `partial` what it lacks of the file at `address`.

    The server is asked for the bytes after those that are there (RFC 9110,
    section 14). One that does not send ranges, or has another version of the
    file by now, sends all of it, and the part is replaced. Without a mark of
    the version, ETag or date, a part is continued only if `hash_is_known`.

    Args:
        address: HTTP or HTTPS address of the file.
        partial: File with its first bytes; it need not exist.
        hash_is_known: Whether the caller can tell a wrong file.

    Returns:
        Whether the file came in more than one answer.

    Raises:
        TransferError: If the server refused, or the connection failed or
            broke; `partial` holds what arrived.
        OSError: If `partial` could not be written.
    """
    have = partial.stat().st_size if partial.exists() else 0
    version = _noted_version(partial)
    headers = {}
    if have and (version or hash_is_known):
        headers["Range"] = f"bytes={have}-"
        if version:
            headers["If-Range"] = version
    request = urllib.request.Request(address, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                return _nothing_left(error, partial, have)
            raise TransferError(
                f"`{address}`: {error}",
                may_pass=error.code >= 500 or error.code in (408, 429),
            ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise TransferError(f"`{address}`: {reason}") from error
    with response:
        resumed = response.status == 206
        if resumed and not _starts_at(response, have):
            discard(partial)
            raise TransferError(
                f"`{address}`: the server sent another part than the one "
                f"after byte {have}"
            )
        _receive(response, partial, have if resumed else 0)
    return resumed


def _noted_version(partial):
    try:
        return version_path(partial).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _note_version(partial, headers):
    version = headers.get("ETag", "")
    # A weak one may stand for files that differ.
    if not version.startswith('"'):
        version = headers.get("Last-Modified", "")
    if version and version.isascii():
        version_path(partial).write_text(version, encoding="ascii")
    else:
        version_path(partial).unlink(missing_ok=True)


def _starts_at(response, have):
    start = response.headers.get("Content-Range", "")
    return re.match(rf"bytes {have}-", start) is not None


def _nothing_left(error, partial, have):
    """Whether the part is the whole file: there is no byte after it."""
    if error.headers.get("Content-Range", "").strip() == f"bytes */{have}":
        return True
    discard(partial)
    raise TransferError(
        f"the part of `{error.url}` that was here, {have} bytes, is longer "
        "than the file"
    ) from error


def _receive(response, partial, have):
    length = response.length
    total = None if length is None else have + length
    progress = _Progress(partial.name.removesuffix(".partial"), have, total)
    with open(partial, "ab" if have else "wb") as file:
        if not have:
            _note_version(partial, response.headers)
        for block in _blocks(response):
            file.write(block)
            progress.add(len(block))
    if total is not None and progress.done < total:
        raise TransferError(
            f"`{response.url}`: the connection ended after {progress.done:,} "
            f"of {total:,} bytes"
        )
    progress.report()


def _blocks(response) -> Iterator[bytes]:
    try:
        # What is there, without waiting for a block to fill.
        while block := response.read1(_BLOCK):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(
            f"`{response.url}`: the connection broke: {error}"
        ) from error


class _Progress:
    """Logs a line now and then: megabytes, pace and time left."""

    def __init__(self, name, have, total):
        self.name = name
        self.have = self.done = have
        self.total = total
        self.began = self.reported = time.monotonic()

    def add(self, count):
        self.done += count
        if time.monotonic() - self.reported > _REPORT_SECONDS:
            self.report()

    def report(self):
        self.reported = time.monotonic()
        pace = (self.done - self.have) / max(self.reported - self.began, 1e-9)
        parts = [f"{self.done / _MEGABYTE:.1f} MB"]
        if self.total:
            parts = [
                f"{self.done / _MEGABYTE:.1f} of "
                f"{self.total / _MEGABYTE:.1f} MB"
            ]
        parts.append(f"{pace / _MEGABYTE:.1f} MB/s")
        if self.total and pace and self.done < self.total:
            parts.append(f"{(self.total - self.done) / pace / 60:.1f} min left")
        logger.info("%s: %s", self.name, ", ".join(parts))
