"""Members of tar archives, read as a stream and never extracted."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import open_binary

# Of a member's long name and other attributes, which `tarfile` reads whole and
# as many of them as Python may recurse.
_LARGEST_HEADER = 1 << 16
# Beyond any file there is: to the end of one that claims more, `tarfile` would
# read for ever.
_LARGEST_MEMBER = 1 << 50
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class _Member(tarfile.TarInfo):
    """A member whose headers take little memory; no sparse file."""

    def _proc_member(self, archive):
        if self.type in _HEADERS and self.size > _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        if self.size > _LARGEST_MEMBER:
            raise tarfile.ReadError(f"a member of {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]

    def _refuse_sparse(self, *_):
        # Neither the list of its parts nor its holes have a bound.
        raise tarfile.ReadError("a sparse file")

    # GNU's old format, and its three in headers of POSIX.
    _proc_sparse = _refuse_sparse
    _proc_gnusparse_00 = _refuse_sparse
    _proc_gnusparse_01 = _refuse_sparse
    _proc_gnusparse_10 = _refuse_sparse


def read_members(
    path: Path, wanted: re.Pattern[str], largest: int | None = None
) -> Iterator[tuple[str, IO[bytes]]]:
    """Streams the wanted files of a tar archive, in the archive's order.

    Nothing is written to disk. Each file must be read before the next one
    is asked for.

    Args:
        path: A tar archive, plain or compressed.
        wanted: Pattern of the whole names of the wanted members.
        largest: Bytes that a wanted member may have.

    Yields:
        The member's name and its content as a binary file.

    Raises:
        DataError: If the archive is damaged or cut short, has a member that
            would be extracted outside of its folder, or a wanted one that is
            too large.
    """
    try:
        # Not left to `tarfile`: it takes a compressed stream that ends early
        # between two members for the end of the archive.
        with (
            open_binary(path) as file,
            tarfile.open(fileobj=file, mode="r|", tarinfo=_Member) as archive,
        ):
            while (member := archive.next()) is not None:
                # Which `tarfile` would keep, however many there are.
                archive.members.clear()  # type: ignore[attr-defined]
                # Attributes of all that follows, which matter to none here.
                archive.pax_headers.clear()  # type: ignore[attr-defined]
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise DataError(
                        f"`{path}` has a member that leads out of the "
                        f"archive's folder: {member.name!r}. No official "
                        "archive has one, so it was not read further. "
                        "Delete it and fetch the official archive."
                    )
                if member.isfile() and wanted.fullmatch(member.name):
                    if largest is not None and member.size > largest:
                        raise DataError(
                            f"`{path}`: `{member.name[:100]}` is larger than "
                            f"{largest:,} bytes, more than any such file. "
                            "Fetch the archive from its original source."
                        )
                    content = archive.extractfile(member)
                    if content is not None:
                        yield member.name, content
    except DataError:
        raise
    # A `ValueError` of numbers and text in headers, which `tarfile` trusts.
    except (tarfile.TarError, RecursionError, ValueError) as error:
        raise DataError(
            f"`{path}` is damaged or cut short. Expected: a complete tar "
            f"archive. Received: {error}. Delete it and fetch it again."
        ) from error
