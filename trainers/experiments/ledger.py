"""Results of an experiment as lines of a file that only grows."""

import contextlib
import json
import os
import pathlib


class Ledger:
    """One JSON object a line; each has a `key` of its own.

    A line is appended in one write, so that several processes can share the
    file; what a killed process left unfinished at the end is not read.

    Args:
        path: Path of the file; it need not exist.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def records(self):
        """Returns a dict of all records by key."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        found: dict[str, dict] = {}
        for line in lines:
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                # A record that is there twice was the same both times.
                found.setdefault(record["key"], record)
        return found

    def find(self, key):
        """Returns the record of a key, or `None`."""
        return self.records().get(key)

    def append(self, record):
        """Adds a record, a JSON-serializable dict with a `key`."""
        # The first line break closes what a killed process left.
        line = "\n" * self._is_torn() + json.dumps(record) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
        )
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _is_torn(self):
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return False
        return bool(content) and not content.endswith(b"\n")
