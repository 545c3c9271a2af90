"""Model directories: config, tokenizer and weights, written whole."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
import zlib

import numpy as np

from ulmfit_tf import text
from ulmfit_tf.whole_files import sha256_of

_DTYPES = ("float32", "float16", "int8")
# What reading a file that is damaged, or somebody's trick, may raise.
_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
)
# Bytes over those of the archive: weights hardly shrink when packed.
_MOST_PACKED = 50
_SMALL = 2**24
_SCALES = ":scales"


def write_model(directory, config, tokenizer, weights, other_files=()):
    """Writes a model to a new directory, whole or not at all.

    Args:
        directory: Path that does not exist yet.
        config: Dict, JSON-serializable, with `format` and `version`.
        tokenizer: Tokenizer to store with the model.
        weights: Dict of arrays by name, as `encode_weights` returns it.
        other_files: Pairs of a file name and its text.

    Raises:
        FileExistsError: If the directory exists.
    """
    with new_directory(directory) as beside:
        text.save_tokenizer(tokenizer, beside)
        np.savez(beside / "weights.npz", **weights)
        hashes = {
            path.name: sha256_of(path) for path in sorted(beside.iterdir())
        }
        content = json.dumps({**config, "sha256": hashes}, indent=2)
        (beside / "config.json").write_text(content + "\n")
        for name, file_text in other_files:
            # A path in it may be no valid Unicode.
            (beside / name).write_text(
                file_text, encoding="utf-8", errors="replace"
            )


@contextlib.contextmanager
def new_directory(directory):
    """Makes a directory, whole or not at all.

    Args:
        directory: Path that does not exist yet.

    Yields:
        Path of a folder to fill, which is renamed when all went well.

    Raises:
        FileExistsError: If the directory exists.
    """
    directory = pathlib.Path(directory)
    check_new(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = pathlib.Path(
        tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent)
    )
    try:
        yield beside
        # `mkdtemp` makes folders that nobody else may read.
        os.chmod(beside, 0o755)
        os.replace(beside, directory)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def check_new(directory):
    """Raises `FileExistsError` if the path exists."""
    if pathlib.Path(directory).exists():
        raise FileExistsError(
            f"`{directory}` exists already and is left as it is. Choose "
            "another directory or remove it first."
        )


def read_model(directory, expected_format, newest_version, fields=()):
    """Reads what `write_model` wrote and checks it.

    Args:
        directory: Path.
        expected_format: Str, what `format` in the config must be.
        newest_version: Int, the newest `version` that can be read.
        fields: Names of what else the config must have.

    Returns:
        `(config, tokenizer, weights)`; the weights in float32.

    Raises:
        ValueError: If the directory holds something else, a newer format or
            a damaged file.
    """
    directory = pathlib.Path(directory)
    try:
        config = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"`{directory / 'config.json'}` cannot be read as the "
            f"configuration of a model: {error}."
        ) from error
    found = config.get("format") if isinstance(config, dict) else None
    if found != expected_format:
        raise ValueError(
            f"`{directory}` does not hold what is needed: `format` in its "
            f"config.json is {found!r}, not {expected_format!r}."
        )
    version = config.get("version")
    if type(version) is int and version > newest_version:
        raise ValueError(
            f"`{directory}` has format version {version}; this release reads "
            f"up to version {newest_version}. Update ulmfit_tf."
        )
    if type(version) is not int or version < 1:
        raise _damaged(directory, f"its version is {version!r}")
    for field in ("sha256", *fields):
        if field not in config:
            raise _damaged(directory, f"`{field}` is missing")
    _check_hashes(directory, config["sha256"])
    try:
        weights = decode_weights(_arrays(directory / "weights.npz"))
        if not all(np.isfinite(each).all() for each in weights.values()):
            raise ValueError("some of its weights are no numbers")
    except _DAMAGE as error:
        raise ValueError(
            f"`{directory}` cannot be read as a model: {error}. Fetch it again."
        ) from error
    try:
        tokenizer = text.load_tokenizer(directory)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"`{directory}` cannot be read as a model: its tokenizer cannot be "
            f"used. {error}"
        ) from error
    return config, tokenizer, weights


def _arrays(path):
    """Reads the arrays of an archive, which may be anybody's."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > max(_SMALL, _MOST_PACKED * path.stat().st_size):
            raise ValueError(f"its weights would unpack to {size:,} bytes")
        arrays = {}
        for member in members:
            with archive.open(member) as file:
                name = member.filename.removesuffix(".npy")
                arrays[name] = np.lib.format.read_array(
                    file, allow_pickle=False
                )
                if arrays[name].dtype.kind not in "fi":
                    raise ValueError(f"`{name}` holds no numbers")
    return arrays


def encode_weights(weights, dtype="float32"):
    """Returns weights as they are stored.

    `"int8"` stores matrices as whole numbers with one float32 scale a row,
    the row's largest absolute value over 127, and all else in float16.
    `python -m trainers.perplexity --stored-precision int8` measures what a
    model loses.

    Args:
        weights: Dict of float32 arrays by name.
        dtype: `"float32"`, `"float16"` or `"int8"`.

    Raises:
        ValueError: If `dtype` is another.
    """
    if dtype not in _DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(_DTYPES)}. Received: {dtype!r}."
        )
    if dtype != "int8":
        return {name: array.astype(dtype) for name, array in weights.items()}
    stored = {}
    for name, array in weights.items():
        if array.ndim < 2:
            stored[name] = array.astype("float16")
            continue
        scales = np.abs(array).max(axis=1, keepdims=True) / 127
        # A row of zeros has no scale; any other is as good.
        scales = np.where(scales > 0, scales, 1).astype("float32")
        stored[name] = np.round(array / scales).astype("int8")
        stored[name + _SCALES] = scales
    return stored


def decode_weights(stored):
    """Returns the float32 weights that `encode_weights` encoded."""
    weights = {}
    for name, array in stored.items():
        if name.endswith(_SCALES):
            continue
        weights[name] = array.astype("float32")
        if array.dtype == np.int8:
            weights[name] *= stored[name + _SCALES]
    return weights


def _check_hashes(directory, hashes):
    """Raises `ValueError` unless the files are those that were written."""
    if (
        not isinstance(hashes, dict)
        or not {"weights.npz", "tokenizer.json"} <= set(hashes)
        or any(pathlib.PurePath(name).name != name for name in hashes)
    ):
        raise _damaged(directory, "`sha256` does not name the model's files")
    for name, expected in hashes.items():
        path = directory / name
        if not path.is_file() or sha256_of(path) != expected:
            raise ValueError(
                f"`{path}` is missing or damaged: its SHA-256 is not the "
                f"{expected} that config.json names. Fetch the model again."
            )


def _damaged(directory, what):
    return ValueError(
        f"`{directory / 'config.json'}` is damaged: {what}. Fetch the model "
        "again."
    )
