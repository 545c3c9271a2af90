"""Files that appear whole or not at all, whoever else writes them."""

import contextlib
import os
import pathlib
import secrets


@contextlib.contextmanager
def written_whole(path):
    """Yields a path to write to, which takes the place of `path` at the end.

    It lies in the same folder and has a name that no other process has, so
    that several may write the same file: the last one stays.

    Args:
        path: Path of the file; its folder is made.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
