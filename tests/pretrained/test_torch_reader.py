"""PyTorch's files are read as PyTorch would, and no other way."""

import contextlib
import io
import os
import pathlib
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.pretrained.torch_reader import TorchFile
from ulmfit_tf.pretrained.torch_writer import write_state_dict

GOLDENS = pathlib.Path(__file__).parent / "fastai_goldens"
FORMATS = ("v2_fwd.pth", "v1_bwd.pth")


def open_bytes(content):
    return TorchFile(io.BytesIO(content), "file.pth")


def read_all(content):
    file = open_bytes(content)
    return {n: file.read(t) for n, t in file.state_dict().items()}


def written(tensors):
    file = io.BytesIO()
    write_state_dict(file, tensors)
    return file.getvalue()


def test_what_was_written_comes_back():
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(5, 3)).astype("float32")
    tensors = {
        "0.encoder.weight": embedding,
        "transposed": rng.normal(size=(4, 2)).astype("float32").T,
        "1.decoder.weight": embedding,
        "scalar": np.array(7, "float32"),
        "nothing": np.zeros((0, 3), "float32"),
    }
    content = written(tensors)
    found = read_all(content)
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32
    # The tied one is stored once.
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert sum("/data/" in name for name in names) == 4


def zip_with(index, data=b"\0" * 24, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", index)
        archive.writestr("archive/data/0", data)
    return file.getvalue()


def tensor(storage=None, offset=0, shape=(2, 3), strides=(3, 1), name="w"):
    """The pickle of a dict with one tensor of a storage of 6 floats."""
    storage = storage or (b"ctorch\nFloatStorage\n", "0", 6)
    kind, key, size = storage

    def data(value):
        return pickle.dumps(value, 2)[2:-1]

    return (
        b"\x80\x02}"
        + data(name)
        + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + data("storage")
        + kind
        + data(key)
        + data("cpu")
        + data(size)
        + b"tQ"
        + data(offset)
        + data(shape)
        + data(strides)
        + b"\x89}tRs."
    )


def test_bfloat16():
    # Sign, exponent and seven bits of each: the upper halves of float32.
    values = np.array([1.0, -2.5, 0.15625, 1e30, 0.0, -0.0], "<f4")
    halves = values.view("<u4") >> 16
    content = zip_with(
        tensor((b"ctorch\nBFloat16Storage\n", "0", 6)),
        halves.astype("<u2").tobytes(),
    )
    expected = (halves << 16).astype("<u4").view("<f4").reshape(2, 3)
    np.testing.assert_array_equal(read_all(content)["w"], expected)


def test_tensors_that_share_a_storage_do_not_outgrow_the_file():
    data = np.arange(6000, dtype="<f4").tobytes()
    index = tensor((b"ctorch\nFloatStorage\n", "0", 6000), 0, (6000,), (1,))
    file = open_bytes(zip_with(index, data))
    (shared,) = file.state_dict().values()
    # A tied embedding has three names.
    for _ in range(3):
        np.testing.assert_array_equal(file.read(shared), np.arange(6000))
    with pytest.raises(DataError, match="larger than the file"):
        for _ in range(200):
            file.read(shared)


def test_views_of_a_storage():
    data = np.arange(6, dtype="<f4").tobytes()
    for offset, shape, strides, expected in [
        (0, (2, 3), (3, 1), [[0, 1, 2], [3, 4, 5]]),
        (0, (3, 2), (1, 3), [[0, 3], [1, 4], [2, 5]]),
        (2, (2, 2), (2, 1), [[2, 3], [4, 5]]),
        (5, (), (), 5),
        (0, (0, 9), (9, 1), np.zeros((0, 9))),
    ]:
        content = zip_with(tensor(None, offset, shape, strides), data)
        np.testing.assert_array_equal(read_all(content)["w"], expected)


FLOATS = b"ctorch\nFloatStorage\n"
OUTSIDE = {
    "offset": tensor(offset=1),
    "far_offset": tensor(offset=2**45),
    "negative_offset": tensor(offset=-1),
    "shape": tensor(shape=(3, 3)),
    "huge_shape": tensor(shape=(2**40, 2**40), strides=(0, 0)),
    "repeated": tensor(shape=(7,), strides=(0,)),
    "strides": tensor(strides=(4, 1)),
    "negative_strides": tensor(strides=(3, -1)),
    "negative_shape": tensor(shape=(-2, -3)),
    "ranks": tensor(strides=(1,)),
    "shape_of_floats": tensor(shape=(2.0, 3.0)),
    "shape_of_bools": tensor(shape=(True, 3)),
    "shape_no_tuple": tensor(shape="23"),
    "huge_storage": tensor((FLOATS, "0", 2**40)),
    "impossible_storage": tensor((FLOATS, "0", 2**60)),
    "negative_storage": tensor((FLOATS, "0", -6)),
    "other_member": tensor((FLOATS, "../data.pkl", 6)),
    "missing_member": tensor((FLOATS, "1", 6)),
    "key_no_text": tensor((FLOATS, 0, 6)),
    "other_type": tensor((b"ctorch\nDoubleStorage\n", "0", 6)),
    "integers": tensor((b"ctorch\nIntStorage\n", "0", 6)),
    "type_no_storage": tensor((b"ctorch\nSize\n", "0", 6)),
    "type_no_name": tensor((b"K\x01", "0", 6)),
}


@pytest.mark.parametrize("index", OUTSIDE.values(), ids=OUTSIDE)
def test_tensors_stay_inside_of_their_storage(index):
    with pytest.raises(DataError, match="damaged"):
        read_all(zip_with(index))


class Exploit:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def legacy(content, keys=("0",), storages=b"", magic=None):
    parts = [
        magic or 0x1950A86A20F9469CFC6C,
        1001,
        {"little_endian": True},
    ]
    plain = b"".join(pickle.dumps(part, 2) for part in parts)
    return plain + content + pickle.dumps(list(keys), 2) + storages


@pytest.mark.parametrize("wrap", [zip_with, legacy], ids=["zip", "legacy"])
def test_hostile_indices_are_not_run(tmp_path, wrap):
    exploit = Exploit(tmp_path / "made")
    for content in ({"w": exploit}, {"model": {}, "opt": exploit}):
        with pytest.raises(DataError, match=r"mkdir.*nothing of it was run"):
            open_bytes(wrap(pickle.dumps(content, 2)))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("wrap", [zip_with, legacy], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "index",
    [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n)Rs.",
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_parameter\n)Rs.",
        pickle.dumps([1, 2], 2),
        pickle.dumps({"w": 1}, 2),
        pickle.dumps({1: 2}, 2),
        pickle.dumps({10**5000: 2}, 2),
        pickle.dumps("weights", 2),
    ],
    ids=range(8),
)
def test_other_contents_are_refused(wrap, index):
    with pytest.raises(DataError):
        open_bytes(wrap(index, (), b"") if wrap is legacy else wrap(index))
        open_bytes(wrap(index)).state_dict()


FLOAT_DATA = struct.pack("<q6f", 6, *range(6))


def test_the_older_format_by_hand():
    content = legacy(tensor(), storages=FLOAT_DATA)
    np.testing.assert_array_equal(
        read_all(content)["w"], [[0, 1, 2], [3, 4, 5]]
    )


@pytest.mark.parametrize(
    "content",
    [
        legacy(tensor(), storages=FLOAT_DATA[:-1]),
        legacy(tensor(), storages=FLOAT_DATA[:4]),
        legacy(tensor(), storages=struct.pack("<q6f", 7, *range(6))),
        legacy(tensor(), storages=struct.pack("<q6f", -6, *range(6))),
        legacy(tensor((FLOATS, "0", 2**40)), storages=struct.pack("<q", 2**40)),
        legacy(tensor(), keys=(), storages=FLOAT_DATA),
        legacy(tensor(), keys=("1",), storages=FLOAT_DATA),
        legacy(tensor(), keys=([],), storages=FLOAT_DATA),
        legacy(tensor(), keys=("0", "0"), storages=FLOAT_DATA),
        legacy(tensor(), magic=7, storages=FLOAT_DATA),
        b"",
        b"\x80\x02",
        b"#!/bin/sh\n",
        b"PK\x03\x04",
    ],
    ids=range(14),
)
def test_damaged_files(content):
    with pytest.raises(DataError, match="damaged|cut short"):
        read_all(content)


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files(name):
    content = (GOLDENS / name).read_bytes()
    for length in range(0, len(content), len(content) // 40):
        with pytest.raises(DataError):
            read_all(content[:length])


@pytest.mark.parametrize("name", FORMATS)
def test_flipped_bytes_raise_nothing_else(name):
    """A damaged file is told as such, or its numbers differ."""
    original = (GOLDENS / name).read_bytes()
    rng = np.random.default_rng(0)
    # Indices are at the beginning, a zip archive's directory is at the end.
    start, end = rng.integers(4000, size=150), rng.integers(2500, size=150)
    for position in [*start, *(len(original) - 1 - end)]:
        content = bytearray(original)
        content[position] ^= 1 << rng.integers(8)
        with contextlib.suppress(DataError):
            read_all(bytes(content))


def test_zip_bombs_are_refused():
    """PyTorch compresses nothing, so that nothing is ever inflated."""
    bomb = zip_with(
        tensor((FLOATS, "0", 1 << 22)), bytes(4 << 22), zipfile.ZIP_DEFLATED
    )
    assert len(bomb) < 1 << 17
    with pytest.raises(DataError, match="not compressed"):
        read_all(bomb)


def test_directories_that_point_elsewhere():
    """A zip archive that says where its members are not."""
    content = bytearray(written({"w": np.ones(3, "float32")}))
    end = content.rindex(b"PK\x05\x06")
    # The directory's offset moves the members before the file's beginning.
    content[end + 16 : end + 20] = struct.pack("<I", 1 << 30)
    with pytest.raises(DataError, match="damaged"):
        read_all(bytes(content))
    first = content.index(b"PK\x01\x02")
    content = bytearray(written({"w": np.ones(3, "float32")}))
    content[first + 6] = 255
    with pytest.raises(DataError, match="zip file version"):
        read_all(bytes(content))


def test_huge_indices_are_refused():
    with pytest.raises(DataError, match="too large"):
        open_bytes(zip_with(b"]" * (9 << 20)))


@pytest.mark.parametrize("wrap", [zip_with, legacy], ids=["zip", "legacy"])
def test_indices_of_too_many_operations_are_refused(wrap):
    with pytest.raises(DataError, match="over 100,000 pickle operations"):
        open_bytes(wrap(b"\x80\x02" + b"]" * 200_000))


def zip_with_directory(size, form):
    """A zip archive whose directory names its last member again and again.

    Args:
        size: Int, bytes that the directory grows to, or a few less.
        form: Str, how the end of the archive tells the directory's size:
            `"plain"`, `"comment"` or `"zip64"`.
    """
    content = zip_with(tensor(), np.arange(6, dtype="<f4").tobytes())
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    last = content[content.rindex(b"PK\x01\x02") : end]
    directory = content[start:end]
    directory += (size - len(directory)) // len(last) * last
    comment = b"made by hand" if form == "comment" else b""
    sizes = struct.pack("<IIH", len(directory), start, len(comment))
    far = b""
    if form == "zip64":
        sizes = struct.pack("<IIH", 0xFFFFFFFF, 0xFFFFFFFF, 0)
        far = (
            b"PK\x06\x06"
            + struct.pack("<Q2H2I", 44, 45, 45, 0, 0)
            + struct.pack("<4Q", 3, 3, len(directory), start)
            + b"PK\x06\x07"
            + struct.pack("<IQI", 0, start + len(directory), 1)
        )
    end_record = content[end : end + 12] + sizes + comment
    return content[:start] + directory + far + end_record


@pytest.mark.parametrize("form", ["plain", "comment", "zip64"])
def test_directories_have_a_largest_size(form):
    """Read whole, this one would take some 30 MiB."""
    values = read_all(zip_with_directory(900_000, form))["w"]
    np.testing.assert_array_equal(values, [[0, 1, 2], [3, 4, 5]])
    content = zip_with_directory(4 << 20, form)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="larger than 1,048,576 bytes"):
            open_bytes(content)
        # The archive itself, in a `BytesIO`, and the list's part.
        assert tracemalloc.get_traced_memory()[1] < len(content) + (4 << 20)
    finally:
        tracemalloc.stop()


def test_a_file_of_many_tensors_comes_back():
    """More than a language model and its optimizer's state have."""
    tensors = {f"w{n}": np.full(2, n, "float32") for n in range(500)}
    found = read_all(written(tensors))
    assert [array[0] for array in found.values()] == list(range(500))


def test_a_zip_of_something_else():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(DataError, match="no index"):
        open_bytes(file.getvalue())
