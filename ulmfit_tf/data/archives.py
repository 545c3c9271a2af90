"""Members of tar archives, read as a stream and never extracted."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import open_binary


def read_members(
    path: Path, wanted: re.Pattern[str]
) -> Iterator[tuple[str, IO[bytes]]]:
    """Streams the wanted files of a tar archive, in the archive's order.

    Nothing is written to disk. Each file must be read before the next one
    is asked for.

    Args:
        path: A tar archive, plain or compressed.
        wanted: Pattern of the whole names of the wanted members.

    Yields:
        The member's name and its content as a binary file.

    Raises:
        DataError: If the archive is damaged or cut short, or has a member
            that would be extracted outside of its folder.
    """
    try:
        # Not left to `tarfile`: it takes a compressed stream that ends early
        # between two members for the end of the archive.
        with (
            open_binary(path) as file,
            tarfile.open(fileobj=file, mode="r|") as archive,
        ):
            for member in archive:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise DataError(
                        f"`{path}` has a member that leads out of the "
                        f"archive's folder: {member.name!r}. No official "
                        "archive has one, so it was not read further. "
                        "Delete it and fetch the official archive."
                    )
                if member.isfile() and wanted.fullmatch(member.name):
                    content = archive.extractfile(member)
                    if content is not None:
                        yield member.name, content
    except tarfile.TarError as error:
        raise DataError(
            f"`{path}` is damaged or cut short. Expected: a complete tar "
            f"archive. Received: {error}. Delete it and fetch it again."
        ) from error
