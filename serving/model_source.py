"""Where the versions of a served model come from."""

import dataclasses
import functools
import logging
import pathlib

from serving.staging import HIGHEST_VERSION


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """Where a model's versions come from.

    Attributes:
        name: Str.
        base_path: Path with one folder a version.
        latest: Int, how many of the highest versions are served; 0 for all.
        specific: Tuple of int, the versions to serve, if not empty.
        labels: Dict of version by label.
    """

    name: str
    base_path: pathlib.Path
    latest: int = 1
    specific: tuple = ()
    labels: dict = dataclasses.field(default_factory=dict)

    def wanted_versions(self):
        """Returns what should be served: folders by version, ascending."""
        try:
            folders = {
                int(path.name): path
                # The name may have leading zeros.
                for path in sorted(self.base_path.iterdir())
                if _is_version(path)
            }
        except OSError as error:
            logging.warning("%s: %s", self.name, error)
            return None
        found = sorted(folders)
        if self.specific:
            found = [version for version in found if version in self.specific]
        elif self.latest:
            found = found[-self.latest :]
        return {version: folders[version] for version in found}


def _is_version(path):
    if not (path.name.isascii() and path.name.isdecimal() and path.is_dir()):
        return False
    if int(path.name) > HIGHEST_VERSION:
        _tell_once(f"{path} is passed over: no version is that high.")
        return False
    return True


@functools.cache
def _tell_once(message):
    """Logs what each poll would say again."""
    logging.warning(message)
