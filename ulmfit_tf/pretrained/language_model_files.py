"""The directory format of pretrained language models."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np

from ulmfit_tf import models, text

_FORMAT = "ulmfit_tf.language_model"
_VERSION = 1
_SHIPPED = pathlib.Path(__file__).parent / "shipped"


@dataclasses.dataclass(frozen=True)
class PretrainedLanguageModel:
    """What fine-tuning needs of a language model.

    Attributes:
        architecture: `models.Architecture`.
        direction: `"forward"` or `"backward"`.
        tokenizer: Tokenizer the model was trained with.
        weights: Dict of float32 arrays, names as in
            `models.language_model_weights`.
    """

    architecture: models.Architecture
    direction: str
    tokenizer: object
    weights: dict

    def save(self, directory, model_card="", dtype="float32"):
        """Writes the model to a new directory, whole or not at all.

        Args:
            directory: Path that does not exist yet.
            model_card: Str, Markdown.
            dtype: `"float32"` or `"float16"`, the weights' type on disk.
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
            text.save_tokenizer(self.tokenizer, beside)
            arrays = {k: v.astype(dtype) for k, v in self.weights.items()}
            np.savez(beside / "weights.npz", **arrays)
            config = {
                "format": _FORMAT,
                "version": _VERSION,
                "architecture": dataclasses.asdict(self.architecture),
                "direction": self.direction,
                "sha256": {"weights.npz": _sha256(beside / "weights.npz")},
            }
            (beside / "config.json").write_text(json.dumps(config, indent=2))
            (beside / "model_card.md").write_text(model_card)
            # `mkdtemp` makes folders that nobody else may read.
            os.chmod(beside, 0o755)
            os.replace(beside, directory)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def load_pretrained(name_or_directory, direction="forward"):
    """Loads a pretrained language model by name or from a directory.

    Args:
        name_or_directory: Name of a shipped model, or a path: a directory of
            a model, or one with subdirectories `forward` and `backward`.
        direction: `"forward"` or `"backward"`.

    Returns:
        A `PretrainedLanguageModel`.

    Raises:
        ValueError: If there is no such model, its direction is another one,
            its format is newer, or a file is damaged.
    """
    directory = _find(name_or_directory, direction)
    try:
        config = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`{directory / 'config.json'}` cannot be read as the "
            f"configuration of a language model: {error}."
        ) from error
    if config.get("format") != _FORMAT:
        raise ValueError(
            f"`{directory}` does not hold a language model of this project: "
            f"`format` in its config.json is {config.get('format')!r}, not "
            f"{_FORMAT!r}."
        )
    if config.get("version") != _VERSION:
        raise ValueError(
            f"`{directory}` has format version {config.get('version')!r}; "
            f"this release reads version {_VERSION}. Update ulmfit_tf."
        )
    if config["direction"] != direction:
        raise ValueError(
            f"`{directory}` holds a {config['direction']} language model, "
            f"but a {direction} one is needed."
        )
    weights_path = directory / "weights.npz"
    expected = config["sha256"]["weights.npz"]
    if not weights_path.exists() or _sha256(weights_path) != expected:
        raise ValueError(
            f"`{weights_path}` is missing or damaged: its SHA-256 is not the "
            f"{expected} that config.json names. Fetch the model again."
        )
    with np.load(weights_path, allow_pickle=False) as file:
        weights = {name: file[name].astype("float32") for name in file.files}
    return PretrainedLanguageModel(
        models.Architecture(**config["architecture"]),
        config["direction"],
        text.load_tokenizer(directory),
        weights,
    )


def _find(name_or_directory, direction):
    for root in (_SHIPPED / name_or_directory, name_or_directory):
        root = pathlib.Path(root)
        if (root / direction / "config.json").exists():
            return root / direction
        if (root / "config.json").exists():
            return root
    shipped = sorted(path.name for path in _SHIPPED.glob("*") if path.is_dir())
    raise ValueError(
        f"There is no pretrained {direction} language model "
        f"{str(name_or_directory)!r}: it is neither the name of a shipped one "
        f"({', '.join(shipped) or 'none'}) nor a directory with a "
        "config.json. Make one with `python -m trainers.language_model`, or "
        "train without: `--pretrained none`."
    )


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
