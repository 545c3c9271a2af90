"""Archives made to take memory are refused, whatever they inflate to."""

import gzip
import io
import re
import tarfile
import tracemalloc

import pytest

from ulmfit_tf.data import DataError
from ulmfit_tf.data.archives import read_members

MEBIBYTE = 1 << 20
ANY = re.compile(".*")


def header(kind, size, name="x"):
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def read_with_peak(path):
    """Returns what was read or raised, and the peak of memory."""
    tracemalloc.start()
    try:
        return [name for name, _ in read_members(path, ANY)], (
            tracemalloc.get_traced_memory()[1]
        )
    except DataError as error:
        return error, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(tarfile.GNUTYPE_LONGNAME, id="long_name"),
        pytest.param(tarfile.GNUTYPE_LONGLINK, id="long_link"),
        pytest.param(tarfile.XHDTYPE, id="attributes"),
        pytest.param(tarfile.XGLTYPE, id="global_attributes"),
    ],
)
def test_large_headers_are_not_read(write, kind):
    content = header(kind, 64 * MEBIBYTE) + bytes(64 * MEBIBYTE)
    path = write("a.tgz", gzip.compress(content))
    error, peak = read_with_peak(path)
    assert "a header of 67,108,864 bytes" in str(error)
    assert peak < 4 * MEBIBYTE


def test_headers_upon_headers_are_damage(write):
    part = header(tarfile.GNUTYPE_LONGNAME, 2) + b"a\0".ljust(512, b"\0")
    path = write("a.tar", part * 2000)
    with pytest.raises(DataError, match="damaged or cut short"):
        list(read_members(path, ANY))


def test_sparse_files_are_refused(write):
    path = write("a.tar", header(tarfile.GNUTYPE_SPARSE, 0) + bytes(1024))
    with pytest.raises(DataError, match="a sparse file"):
        list(read_members(path, ANY))


def test_long_names_as_there_are_come_back(write):
    names = ["a" * 300, "short", "é" * 200]
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(
            fileobj=buffer, mode="w", format=tar_format
        ) as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(name.encode())
                archive.addfile(member, io.BytesIO(name.encode()))
        path = write("a.tar", buffer.getvalue())
        found = [(n, c.read().decode()) for n, c in read_members(path, ANY)]
        assert found == [(name, name) for name in names]


def test_memory_does_not_grow_with_the_number_of_members(write):
    peaks = []
    for count in (500, 5000):
        content = b"".join(
            header(tarfile.REGTYPE, 0, f"name-{number}")
            for number in range(count)
        )
        path = write("a.tar", content + bytes(1024))
        tracemalloc.start()
        assert sum(1 for _ in read_members(path, ANY)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
