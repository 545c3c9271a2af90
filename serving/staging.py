"""Where a version is written before it takes its place."""

import contextlib
import os
import pathlib
import shutil
import socket
import tempfile

# Not an integer, so a server that polls the directory passes over it.
_PREFIX = ".export-"


@contextlib.contextmanager
def beside(model_directory):
    """Yields a new folder on the same volume, which is removed in the end.

    Those that exports left here when they were killed are removed, too. The
    volume may be shared: what other machines write is let alone.
    """
    own = f"{_PREFIX}{socket.gethostname()}-"
    for path in pathlib.Path(model_directory).glob(f"{own}*"):
        number = path.name.removeprefix(own).split("-")[0]
        if number.isdecimal() and not _is_running(int(number)):
            shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{own}{os.getpid()}-", dir=model_directory
    ) as directory:
        yield pathlib.Path(directory)


def versions(model_directory):
    """Returns the folders of a model's versions by number.

    Names may have leading zeros, as servers read them.
    """
    return {
        int(path.name): path
        for path in pathlib.Path(model_directory).iterdir()
        if path.name.isdecimal()
    }


def _is_running(process_id):
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # It is another user's.
        pass
    return True
