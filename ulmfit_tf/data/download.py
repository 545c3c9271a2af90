"""Downloads into the cache, resumed, checked and retried."""

import contextlib
import fcntl
import logging
import os
import time
from pathlib import Path

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.http_transfer import (
    TransferError,
    discard,
    fetch_rest,
    version_path,
)
from ulmfit_tf.whole_files import sha256_of

logger = logging.getLogger(__name__)

ATTEMPTS = 3
BACK_OFF_SECONDS = 1.0  # Doubled after each failed attempt.


def default_cache_dir() -> Path:
    """Returns `$XDG_CACHE_HOME/ulmfit_tf`, or `~/.cache/ulmfit_tf`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ulmfit_tf"


def check_sha256(path: Path, expected: str):
    """Raises a `DataError` if a file is not the one it should be."""
    try:
        received = sha256_of(path)
    except OSError as error:
        raise DataError(
            f"`{path}` could not be read: {error}. Check its permissions."
        ) from error
    if received != expected:
        raise DataError(
            f"`{path}` is not the official file. Expected sha256: "
            f"{expected}. Received: {received}. Delete it to have it "
            "downloaded again, or replace it by the official one. To use "
            "data of your own, pass its path as the data set."
        )


def download(address: str, destination: Path, sha256: str | None = None):
    """Downloads one file; it appears at `destination` only when complete.

    What arrives is kept as `NAME.partial` beside it. A failed attempt, and
    a later call after an interrupted one, goes on from there where the
    server can send a part (`keras.utils.get_file` would start again). A
    file that came in parts and has a wrong hash is fetched anew, once.
    Progress is logged.

    Args:
        address: Where the file is.
        destination: Where to put it. Its folder is made if need be.
        sha256: Expected sha256, or `None` where nobody published one.

    Raises:
        OSError: If the file could not be downloaded or written.
        DataError: If its hash is wrong; nothing of it is kept.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(destination.name + ".partial")
    with _one_at_a_time(destination.parent):
        if destination.exists():
            # Another process has fetched it in the meantime.
            return
        in_parts = _fetch(address, partial, bool(sha256))
        if in_parts and sha256 and sha256_of(partial) != sha256:
            logger.warning(
                "%s: its parts do not make the official file; it is fetched "
                "anew",
                destination.name,
            )
            discard(partial)
            _fetch(address, partial, bool(sha256))
        if sha256:
            _check_received(address, partial, sha256)
        partial.replace(destination)
        version_path(partial).unlink(missing_ok=True)


def _fetch(address, partial, hash_is_known):
    """Calls `fetch_rest` until it succeeds, or fails without progress."""
    logger.info("downloading %s", address)
    most, failures = _size(partial), 0
    while True:
        try:
            return fetch_rest(address, partial, hash_is_known)
        except TransferError as error:
            size = _size(partial)
            failures = 1 if size > most else failures + 1
            most = max(most, size)
            if not error.may_pass:
                raise
            if failures >= ATTEMPTS:
                raise TransferError(_with_what_is_kept(error, size)) from error
            wait = BACK_OFF_SECONDS * 2 ** (failures - 1)
            logger.warning("%s; trying again in %.0f s", error, wait)
            time.sleep(wait)


def _with_what_is_kept(error, size):
    if not size:
        return str(error)
    return (
        f"{error}. The {size:,} bytes that arrived are kept: the same command "
        "goes on from there"
    )


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _check_received(address, partial, expected):
    received = sha256_of(partial)
    if received != expected:
        discard(partial)
        raise DataError(
            f"What `{address}` sent is not the official file, and was "
            f"deleted. Expected sha256: {expected}. Received: {received}. "
            "Something on the way, such as a login page of the network, may "
            "have answered instead: try again elsewhere, or put the official "
            f"file into `{partial.parent}`."
        )


@contextlib.contextmanager
def _one_at_a_time(folder):
    """Waits until no other process downloads into a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot lock; then nobody waits.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("%s: waiting for another download", folder)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
