"""Where a version is written before it takes its place."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import tempfile

# Not an integer, so a server that polls the directory passes over it.
_PREFIX = ".export-"
# Versions are int64 on the wire.
HIGHEST_VERSION = (1 << 63) - 1


@contextlib.contextmanager
def beside(model_directory):
    """Yields a new folder on the same volume, which is removed in the end.

    Those that exports left here when they were killed are removed, too. The
    volume may be shared: what other machines write is let alone.
    """
    own = f"{_PREFIX}{socket.gethostname()}"
    for path in pathlib.Path(model_directory).glob(f"{_PREFIX}*"):
        # Host names may have hyphens; what `mkdtemp` adds has none.
        host, number, _ = (path.name.rsplit("-", 2) + ["", ""])[:3]
        if host == own and number.isdecimal() and _is_abandoned(path, number):
            shutil.rmtree(path, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(
            prefix=f"{own}-{os.getpid()}-", dir=model_directory
        ) as directory,
        _held(directory),
    ):
        yield pathlib.Path(directory)


def versions(model_directory):
    """Returns the folders of a model's versions by number.

    Names may have leading zeros, as servers read them, and numbers that no
    server takes are passed over.
    """
    return {
        int(path.name): path
        for path in pathlib.Path(model_directory).iterdir()
        if path.name.isdecimal() and int(path.name) <= HIGHEST_VERSION
    }


@contextlib.contextmanager
def _held(directory):
    """Locks a folder for as long as this process is at work on it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_abandoned(path, process_id):
    """Whether nobody is at work on a folder.

    A container may see the folders of the machine that it runs on, and not
    its processes; but their locks.
    """
    if _is_running(int(process_id)):
        return False
    try:
        with _held(path):
            return True
    except OSError:
        return False


def _is_running(process_id):
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # It is another user's.
        pass
    return True
