"""Locks between processes on one machine or one file system."""

import contextlib
import fcntl
import logging
import pathlib
import time

from trainers.command_line import UserError

_log = logging.getLogger("trainers")
_POLL_SECONDS = 0.1
# After which it is told what is waited for.
_TELL_SECONDS = 60.0


class Held(TimeoutError):
    """Another process holds a lock.

    Attributes:
        path: `pathlib.Path` of the lock's file.
    """

    def __init__(self, path, seconds):
        super().__init__(
            f"Another process has held `{path}` for {seconds:.0f} seconds."
        )
        self.path = path


@contextlib.contextmanager
def locked(path, patience=float("inf")):
    """Holds a lock between processes; it ends with the process at the latest.

    Args:
        path: Path of the lock's own file.
        patience: Float, seconds to wait for it.

    Raises:
        Held: If another process holds it for longer.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    began, told = time.monotonic(), False
    with open(path, "w") as file:
        while not _taken(file):
            waited = time.monotonic() - began
            if waited >= patience:
                raise Held(path, waited)
            if waited > _TELL_SECONDS and not told:
                _log.info("waiting for the process that holds %s", path)
                told = True
            time.sleep(_POLL_SECONDS)
        yield


def is_held(path):
    """Returns whether another process holds a lock."""
    try:
        with locked(path, patience=0.0):
            return False
    except Held:
        return True


def wait_for_any(paths):
    """Waits until at least one of several locks is free."""
    while all(is_held(path) for path in paths):
        time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def run_locked(directory):
    """Lets one process at a time work on a run.

    Args:
        directory: `pathlib.Path` of the run folder.

    Raises:
        UserError: If another process does.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(directory / ".lock", 0.0))
        except Held as error:
            raise UserError(
                f"`--resume {directory}`: another process is at work on this "
                "run. Wait for it, or stop it first."
            ) from error
        # What a killed process was writing.
        for path in directory.rglob("*.partial"):
            path.unlink(missing_ok=True)
        yield


def _taken(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
