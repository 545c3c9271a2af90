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


def test_a_member_larger_than_any_disk_is_damage(write):
    path = write("a.tar", header(tarfile.REGTYPE, 2**70) + bytes(1024))
    error, _ = read_with_peak(path)
    assert "a member of 1,180,591,620,717,411,303,424 bytes" in str(error)


def test_attributes_of_all_members_do_not_add_up(write):
    def part(number):
        text = f"comment{number}={'x' * 60_000}\n"
        length = len(text) + len(str(len(text) + 6)) + 1
        content = f"{length} {text}".encode()
        return (
            header(tarfile.XGLTYPE, len(content))
            + content.ljust(-(-len(content) // 512) * 512, b"\0")
            + header(tarfile.REGTYPE, 0, name=f"{number}.txt")
        )

    path = write("a.tar", b"".join(map(part, range(200))) + bytes(1024))
    names, peak = read_with_peak(path)
    assert len(names) == 200
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


def with_attributes(attributes, content=b"", kind=tarfile.XHDTYPE):
    """A file whose header of POSIX has attributes, or a global one."""
    records = b""
    for record in attributes:
        # Its length, of ten digits and a space, counts itself.
        records += b"%010d %b\n" % (len(record) + 12, record)
    padding = bytes(-len(records) % 512)
    return (
        header(kind, len(records))
        + records
        + padding
        + header(tarfile.REGTYPE, len(content))
        + content.ljust(1024, b"\0")
    )


VERSION_1 = [b"GNU.sparse.major=1", b"GNU.sparse.minor=0"]
SPARSE = {
    "0.0": [
        b"GNU.sparse.size=9",
        b"GNU.sparse.offset=0",
        b"GNU.sparse.numbytes=1",
    ],
    "0.1": [b"GNU.sparse.map=0,1", b"GNU.sparse.size=9"],
    "0.1_damaged": [b"GNU.sparse.map=nowhere"],
    "1.0": [*VERSION_1, b"GNU.sparse.realsize=9"],
    "1.0_damaged": VERSION_1,
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(tarfile.XHDTYPE, id="own"),
        pytest.param(tarfile.XGLTYPE, id="global"),
    ],
)
@pytest.mark.parametrize("version", SPARSE)
def test_sparse_files_of_posix_archives_are_refused(write, version, kind):
    content = b"nothing" if "damaged" in version else b"1\n0\n1\n"
    path = write("a.tar", with_attributes(SPARSE[version], content, kind))
    with pytest.raises(DataError, match="a sparse file"):
        list(read_members(path, ANY))


def test_lists_of_parts_are_not_read(write):
    """Two hundred thousand parts in an archive of under 4 KiB."""
    parts = b"200000\n" + 200_000 * b"0\n1\n"
    path = write("a.tgz", gzip.compress(with_attributes(VERSION_1, parts)))
    assert path.stat().st_size < 4096
    error, peak = read_with_peak(path)
    assert "a sparse file" in str(error)
    assert peak < 4 * MEBIBYTE


@pytest.mark.parametrize(
    "attribute",
    [
        pytest.param(b"GNU.sparse.realsize=large", id="no_number"),
        pytest.param(b"hdrcharset=\xff", id="no_text"),
    ],
)
def test_attributes_that_are_none_are_damage(write, attribute):
    path = write("a.tar", with_attributes([attribute]))
    with pytest.raises(DataError, match="damaged or cut short"):
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
    def peak(path, count):
        tracemalloc.start()
        assert sum(1 for _ in read_members(path, ANY)) == count
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peaks = []
    for count in (500, 5000):
        content = b"".join(
            header(tarfile.REGTYPE, 0, f"name-{number}")
            for number in range(count)
        )
        path = write("a.tar", content + bytes(1024))
        # The least: other threads of the process are measured as well.
        peaks.append(min(peak(path, count) for _ in range(3)))
    assert peaks[1] < 1.5 * peaks[0]
