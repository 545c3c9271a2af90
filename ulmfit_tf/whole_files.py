"""Files that appear whole or not at all, and what is said of damaged ones."""

import contextlib
import hashlib
import os
import pathlib
import secrets
import zipfile

import numpy as np

# What reading a file that was cut short, or left behind, may raise.
DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class DamagedFile(ValueError):
    """A file that a training goes on from is missing or damaged.

    Args:
        path: Path of the file.
        error: What reading it raised.
    """

    def __init__(self, path, error):
        super().__init__(
            f"`{path}` cannot be read, so the training cannot go on: {error}. "
            "If the run's folder was copied, copy it again as a whole; or "
            "start a new run."
        )


@contextlib.contextmanager
def written_whole(path):
    """Yields a path to write to, which takes the place of `path` at the end.

    It lies in the same folder and has a name that no other process has, so
    that several may write the same file: the last one stays. Its content is
    on the disk before it has its name, so that not even a loss of power
    leaves half of it.

    Args:
        path: Path of the file; its folder is made.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    try:
        yield beside
        _sync(beside)
        os.replace(beside, path)
        _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def write_arrays(path, arrays):
    """Writes an `.npz` file, whole or not at all.

    Args:
        path: Path of the file; its folder is made.
        arrays: Dict of arrays by name.
    """
    # A file, as NumPy would add `.npz` to a name.
    with written_whole(path) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays)


def sha256_of(path):
    """Returns the sha256 of a file's content as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path):
    """Waits until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Some file systems cannot for folders.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
