"""Downloads into the cache, checked and retried."""

import contextlib
import hashlib
import os
import socket
import sys
import tempfile
import time
import urllib.error
from pathlib import Path

from ulmfit_tf.data.errors import DataError

ATTEMPTS = 3
BACK_OFF_SECONDS = 1.0  # Doubled after each failed attempt.
TIMEOUT_SECONDS = 30.0


def default_cache_dir() -> Path:
    """Returns `$XDG_CACHE_HOME/ulmfit_tf`, or `~/.cache/ulmfit_tf`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ulmfit_tf"


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file's content as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str):
    """Raises a `DataError` if a file is not the one it should be."""
    received = sha256_of(path)
    if received != expected:
        raise DataError(
            f"`{path}` is not the official file. Expected sha256: "
            f"{expected}. Received: {received}. Delete it to have it "
            "downloaded again, or replace it by the official one. To use "
            "data of your own, pass its path as the data set."
        )


def download(address: str, destination: Path, sha256: str | None = None):
    """Downloads one file; it appears at `destination` only when complete.

    Progress goes to standard error. A failed attempt is repeated with
    doubled waiting times, from the start: `keras.utils.get_file` cannot
    resume, and removes what it had.

    Args:
        address: Where the file is.
        destination: Where to put it. Its folder is made if need be.
        sha256: Expected sha256, or `None` where nobody published one.

    Raises:
        OSError: If the file could not be downloaded or written.
        DataError: If its hash is wrong.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=destination.parent, prefix=".download-"
    ) as folder:
        complete = Path(folder) / destination.name
        for attempt in range(ATTEMPTS):
            try:
                _get_file(address, complete)
                break
            except Exception as error:
                last = attempt == ATTEMPTS - 1
                if last or not _may_pass(error):
                    raise OSError(str(error)) from error
                time.sleep(BACK_OFF_SECONDS * 2**attempt)
        if sha256:
            check_sha256(complete, sha256)
        complete.replace(destination)


def _get_file(address, target):
    # Imported here: everything that fails before a download fails fast.
    import keras

    with _socket_timeout(), contextlib.redirect_stdout(sys.stderr):
        keras.utils.get_file(
            target.name,
            origin=address,
            cache_dir=target.parent,
            cache_subdir="",
        )


@contextlib.contextmanager
def _socket_timeout():
    # `urlretrieve`, which Keras uses, would wait for ever.
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def _may_pass(error):
    # Keras raises a bare `Exception` while it handles the HTTP error.
    cause = error.__context__
    if isinstance(cause, urllib.error.HTTPError):
        return cause.code >= 500 or cause.code == 429
    return True
