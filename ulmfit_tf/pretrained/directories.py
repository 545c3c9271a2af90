"""Model directories: config, tokenizer and weights, written whole."""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np

from ulmfit_tf import text


def write_model(directory, config, tokenizer, weights, other_files=()):
    """Writes a model to a new directory, whole or not at all.

    Args:
        directory: Path that does not exist yet.
        config: Dict, JSON-serializable, with `format` and `version`.
        tokenizer: Tokenizer to store with the model.
        weights: Dict of arrays by name.
        other_files: Pairs of a file name and its text.

    Raises:
        FileExistsError: If the directory exists.
    """
    directory = pathlib.Path(directory)
    if directory.exists():
        raise FileExistsError(
            f"`{directory}` exists already and is left as it is. Choose "
            "another directory or remove it first."
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = pathlib.Path(
        tempfile.mkdtemp(prefix=directory.name, dir=directory.parent)
    )
    try:
        text.save_tokenizer(tokenizer, beside)
        np.savez(beside / "weights.npz", **weights)
        hashes = {path.name: _sha256(path) for path in sorted(beside.iterdir())}
        content = json.dumps({**config, "sha256": hashes}, indent=2)
        (beside / "config.json").write_text(content + "\n")
        for name, file_text in other_files:
            (beside / name).write_text(file_text)
        # `mkdtemp` makes folders that nobody else may read.
        os.chmod(beside, 0o755)
        os.replace(beside, directory)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def read_model(directory, expected_format, expected_version):
    """Reads what `write_model` wrote and checks it.

    Returns:
        `(config, tokenizer, weights)`; the weights in float32.

    Raises:
        ValueError: If the directory holds something else, a newer format or
            a damaged file.
    """
    directory = pathlib.Path(directory)
    try:
        config = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError) as error:
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
    if config.get("version") != expected_version:
        raise ValueError(
            f"`{directory}` has format version {config.get('version')!r}; "
            f"this release reads version {expected_version}. Update ulmfit_tf."
        )
    for name, expected in config["sha256"].items():
        path = directory / name
        if not path.exists() or _sha256(path) != expected:
            raise ValueError(
                f"`{path}` is missing or damaged: its SHA-256 is not the "
                f"{expected} that config.json names. Fetch the model again."
            )
    with np.load(directory / "weights.npz", allow_pickle=False) as file:
        weights = {name: file[name].astype("float32") for name in file.files}
    return config, text.load_tokenizer(directory), weights


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
