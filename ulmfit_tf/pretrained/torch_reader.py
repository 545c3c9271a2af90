"""Reads the tensors of PyTorch's weight files without PyTorch."""

import dataclasses
import io
import math
import os
import zipfile

import ml_dtypes
import numpy as np

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.pretrained.pickle_reader import (
    MAX_BYTES,
    Call,
    Name,
    read_pickle,
)

# First pickle of a file that `torch.save` wrote before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# A tensor takes some 40 operations of the index and under 100 bytes of a zip
# archive's list of members; a language model of three layers with Adam's
# state has 44 tensors.
_MOST_OPERATIONS = 100_000
_LARGEST_LIST = 1 << 20
_DTYPES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": ml_dtypes.bfloat16,
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
    "torch.BoolStorage": "|b1",
}
_FLOATS = {np.dtype(each) for each in ("<f4", "<f8", "<f2", ml_dtypes.bfloat16)}
# Tied weights are one storage under three names, with an old recurrent kernel
# beside each new one; more is no language model's.
_MOST_READ = 4
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETER = "torch._utils._rebuild_parameter"
# Of optimizers, whose state lies beside the weights. Never looked at.
_OPTIMIZER_NAMES = (
    "_codecs.encode",
    "fastcore.foundation.L",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "torch.device",
    "torch.Size",
)
_ALLOWED = (*_DTYPES, *_TENSORS, _PARAMETER, *_OPTIMIZER_NAMES)


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A flat array of a weights file: its key, type and number of elements."""

    key: str
    dtype: np.dtype
    size: int


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor of a weights file: a view of a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


class _FirstBytes:
    """A zip archive of which only a list of members of some size is read.

    `ZipFile` takes nine times the list's size in memory.
    """

    def __init__(self, file):
        self._left = _LARGEST_LIST
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size=-1):
        enough = self._left + 1
        content = self._file.read(enough if size < 0 else min(size, enough))
        self._left -= len(content)
        if self._left < 0:
            raise zipfile.BadZipFile(
                f"its list of members is larger than {_LARGEST_LIST:,} bytes"
            )
        return content


class TorchFile:
    """A weights file of `torch.save`, in its zip or its older format.

    Only the index is read at first, a tensor when it is asked for, so that
    an optimizer's state costs nothing. The index is a pickle, see
    `read_pickle`.

    Args:
        file: Binary file that can be sought in; it stays the caller's.
        where: What is read, for messages.

    Raises:
        DataError: If it is no such file, is damaged, or holds more than
            tensors in dicts.
    """

    def __init__(self, file, where):
        self._file = file
        self._where = where
        self._length = file.seek(0, os.SEEK_END)
        self._read_bytes = 0
        file.seek(0)
        if file.read(4) == b"PK\x03\x04":
            self._content, self._locate = self._open_zip()
        else:
            self._content, self._locate = self._open_legacy()

    def state_dict(self):
        """Returns the model's tensors, a dict of `StoredTensor` by name."""
        content = self._content
        if isinstance(content, dict) and isinstance(content.get("model"), dict):
            content = content["model"]
        if not isinstance(content, dict):
            raise DataError(
                f"`{self._where}` does not hold weights by name, a "
                "`state_dict`. Save them with `learn.save` and pass that file."
            )
        return {
            name: self._stored_tensor(name, value)
            for name, value in content.items()
        }

    def read(self, tensor):
        """Returns the values of a `StoredTensor` as a float32 array."""
        storage = tensor.storage
        if storage.dtype not in _FLOATS:
            raise self._damaged(f"its weights are of type {storage.dtype}")
        itemsize = storage.dtype.itemsize
        # Tensors may share a storage, and a small file so become a large one.
        self._read_bytes += math.prod(tensor.shape) * itemsize
        if self._read_bytes > _MOST_READ * self._length:
            raise self._damaged("its tensors are larger than the file")
        # Checked in `_stored_tensor` to lie inside of the storage.
        extent = 0
        if math.prod(tensor.shape):
            extent = 1 + sum(
                (n - 1) * stride
                for n, stride in zip(tensor.shape, tensor.strides, strict=True)
            )
        self._file.seek(self._locate(storage) + tensor.offset * itemsize)
        content = self._file.read(extent * itemsize)
        if len(content) != extent * itemsize:
            raise self._damaged("a tensor ends early")
        view = np.lib.stride_tricks.as_strided(
            np.frombuffer(content, storage.dtype),
            tensor.shape,
            [stride * itemsize for stride in tensor.strides],
            writeable=False,
        )
        return view.astype("float32")

    def _damaged(self, what):
        return DataError(
            f"`{self._where}` is damaged or no weights file of PyTorch: "
            f"{what}. Fetch the file again."
        )

    def _open_zip(self):
        try:
            archive = zipfile.ZipFile(_FirstBytes(self._file))
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            ValueError,
            OSError,
        ) as error:
            raise self._damaged(str(error)) from error
        members = {member.filename: member for member in archive.infolist()}
        roots = [
            name.removesuffix("data.pkl")
            for name in members
            if name.endswith("/data.pkl")
        ]
        if len(roots) != 1:
            raise self._damaged("it has no index `data.pkl`")
        root = roots[0]
        order = members.get(f"{root}byteorder")
        if order and self._member(order, 16) != b"little":
            raise self._damaged("its numbers are big-endian")
        index = self._member(members[f"{root}data.pkl"], MAX_BYTES)
        content = self._read_index(io.BytesIO(index))

        def locate(storage):
            member = members.get(f"{root}data/{storage.key}")
            size = storage.size * storage.dtype.itemsize
            if member is None or member.file_size != size:
                raise self._damaged(f"storage {storage.key} has another size")
            return self._start(member)

        return content, locate

    def _member(self, member, limit):
        if member.file_size > limit:
            raise self._damaged(f"{member.filename[:40]!r} is too large")
        self._file.seek(self._start(member))
        return self._file.read(member.file_size)

    def _start(self, member):
        """Returns where in the file a member's bytes begin."""
        if (
            member.compress_type != zipfile.ZIP_STORED
            or member.file_size != member.compress_size
        ):
            raise self._damaged("PyTorch's files are not compressed")
        if member.header_offset < 0:
            raise self._damaged("it is cut short")
        # The local header tells the length of its name and extra field.
        self._file.seek(member.header_offset)
        header = self._file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise self._damaged("a member's header is missing")
        lengths = np.frombuffer(header[26:30], "<u2").astype(int)
        start = member.header_offset + 30 + int(lengths.sum())
        if start + member.file_size > self._length:
            raise self._damaged("it is cut short")
        return start

    def _open_legacy(self):
        self._file.seek(0)
        head = io.BytesIO(self._file.read(MAX_BYTES))
        if head.getvalue()[:2] != b"\x80\x02":
            raise self._damaged("it begins with neither format's mark")
        if self._plain(head) != _LEGACY_MAGIC:
            raise self._damaged("it begins with neither format's mark")
        self._plain(head)
        system = self._plain(head)
        if isinstance(system, dict) and not system.get("little_endian", True):
            raise self._damaged("its numbers are big-endian")
        self._storages = {}
        content = self._read_index(head)
        keys = self._plain(head)
        if not isinstance(keys, list):
            raise self._damaged("its list of storages is missing")
        starts, position = {}, head.tell()
        for key in keys:
            storage = self._storages.get(key) if type(key) is str else None
            self._file.seek(position)
            size = int.from_bytes(self._file.read(8), "little")
            if storage is None or storage.size != size:
                raise self._damaged("its list of storages is wrong")
            starts[key] = position + 8
            position += 8 + size * storage.dtype.itemsize
            if position > self._length:
                raise self._damaged("it is cut short")

        def locate(storage):
            if storage.key not in starts:
                raise self._damaged(f"storage {storage.key[:40]} is missing")
            return starts[storage.key]

        return content, locate

    def _plain(self, file):
        return read_pickle(file, self._where, most_operations=_MOST_OPERATIONS)

    def _read_index(self, file):
        self._storages = {}
        return read_pickle(
            file, self._where, _ALLOWED, self._storage, _MOST_OPERATIONS
        )

    def _storage(self, identifier):
        """Returns the storage that a persistent id stands for."""
        if not isinstance(identifier, tuple) or len(identifier) not in (5, 6):
            raise self._damaged("it refers to something else than tensors")
        kind, dtype, key, _, size, *view = identifier
        if (
            kind != "storage"
            or not isinstance(dtype, Name)
            or dtype.dotted not in _DTYPES
            or type(key) is not str
            or not _is_count(size)
            or view not in ([], [None])
        ):
            raise self._damaged("it refers to something else than tensors")
        storage = _Storage(key, np.dtype(_DTYPES[dtype.dotted]), size)
        if self._storages.setdefault(key, storage) != storage:
            raise self._damaged(f"storage {key[:40]} has two sizes")
        return storage

    def _stored_tensor(self, name, value):
        if isinstance(value, Call) and value.name == _PARAMETER:
            value = value.arguments[0] if value.arguments else None
        if (
            type(name) is not str
            or not isinstance(value, Call)
            or value.name not in _TENSORS
            or len(value.arguments) < 4
        ):
            raise DataError(
                f"`{self._where}` holds something else than tensors by name "
                f"at {name[:60] if type(name) is str else type(name)!r}. "
                "Expected: the weights of a language model, as `learn.save` "
                "writes them."
            )
        storage, offset, shape, strides = value.arguments[:4]
        if (
            not isinstance(storage, _Storage)
            or not _is_count(offset)
            or not all(
                isinstance(sizes, tuple) and all(map(_is_count, sizes))
                for sizes in (shape, strides)
            )
            or len(shape) != len(strides)
            or len(shape) > 4
            # No element twice, so that no tensor outgrows the file.
            or math.prod(shape) > storage.size
            or (
                math.prod(shape)
                and offset
                + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
                >= storage.size
            )
        ):
            raise self._damaged(f"{name[:60]!r} lies outside of its storage")
        return StoredTensor(storage, offset, shape, strides)


def _is_count(value):
    return type(value) is int and 0 <= value < 1 << 48
