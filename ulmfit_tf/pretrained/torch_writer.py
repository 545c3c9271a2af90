"""Writes tensors as a weights file that PyTorch loads, without PyTorch."""

import struct
import zipfile

import numpy as np


def write_state_dict(file, tensors):
    """Writes what `torch.save(state_dict, file)` would, in the zip format.

    `torch.load` reads it with `weights_only=True`.

    Args:
        file: Path, or binary file.
        tensors: Dict of float32 arrays by name. An array that stands under
            several names is stored once, as PyTorch does for tied weights.
    """
    storages, index = {}, [b"\x80\x02", _global("collections", "OrderedDict")]
    index += [b")R("]
    for name, array in tensors.items():
        key, contiguous = storages.setdefault(
            id(array),
            (str(len(storages)), np.ascontiguousarray(array, "<f4")),
        )
        strides = [step // 4 for step in contiguous.strides]
        index += [
            _string(name),
            _global("torch._utils", "_rebuild_tensor_v2"),
            b"((",
            _string("storage"),
            _global("torch", "FloatStorage"),
            _string(key),
            _string("cpu"),
            _integer(contiguous.size),
            b"tQ",
            _integer(0),
            _tuple(contiguous.shape),
            _tuple(strides),
            b"\x89",
            _global("collections", "OrderedDict"),
            b")RtR",
        ]
    index += [b"u."]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", b"".join(index))
        archive.writestr("archive/byteorder", "little")
        for key, array in storages.values():
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", "3\n")


def _global(module, name):
    return f"c{module}\n{name}\n".encode()


def _string(value):
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value):
    return b"J" + struct.pack("<i", value)


def _tuple(values):
    return b"(" + b"".join(map(_integer, values)) + b"t"
