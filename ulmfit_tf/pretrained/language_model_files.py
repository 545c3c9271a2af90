"""Pretrained language models: loading by name and saving."""

import dataclasses
import pathlib

from ulmfit_tf import models
from ulmfit_tf.pretrained.directories import read_model, write_model

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
        config = {
            "format": _FORMAT,
            "version": _VERSION,
            "architecture": dataclasses.asdict(self.architecture),
            "direction": self.direction,
        }
        write_model(
            directory,
            config,
            self.tokenizer,
            {name: array.astype(dtype) for name, array in self.weights.items()},
            [("model_card.md", model_card)],
        )


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
    config, tokenizer, weights = read_model(directory, _FORMAT, _VERSION)
    if config["direction"] != direction:
        raise ValueError(
            f"`{directory}` holds a {config['direction']} language model, "
            f"but a {direction} one is needed."
        )
    return PretrainedLanguageModel(
        models.Architecture(**config["architecture"]),
        config["direction"],
        tokenizer,
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
