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


def load_pretrained(names, direction="forward"):
    """Loads a pretrained language model by name or from a directory.

    Args:
        names: List of names of shipped models or of paths, the first that
            has the direction is taken. A path is a directory of a model, or
            one with subdirectories `forward` and `backward`.
        direction: `"forward"` or `"backward"`.

    Returns:
        A `PretrainedLanguageModel`.

    Raises:
        ValueError: If there is no such model, its direction is another one,
            its format is newer, or a file is damaged.
    """
    if isinstance(names, (str, pathlib.Path)):
        names = [names]
    found = []
    for directory in _candidates(names):
        config, tokenizer, weights = read_model(directory, _FORMAT, _VERSION)
        found.append(f"{directory} ({config['direction']})")
        if config["direction"] == direction:
            return PretrainedLanguageModel(
                models.Architecture(**config["architecture"]),
                direction,
                tokenizer,
                weights,
            )
    shipped = sorted(path.name for path in _SHIPPED.glob("*") if path.is_dir())
    raise ValueError(
        f"There is no pretrained {direction} language model in "
        f"{', '.join(map(str, names))}. Found: {', '.join(found) or 'none'}. "
        f"Expected: the name of a shipped model ({', '.join(shipped)}) or a "
        "directory that `python -m trainers.language_model` wrote. To train "
        "without one, pass `--pretrained none`."
    )


def _candidates(names):
    """Yields the directories of language models that the names stand for."""
    for name in names:
        for root in (_SHIPPED / name, pathlib.Path(name)):
            parts = [root / part for part in ("forward", "backward")]
            parts = [p for p in parts if (p / "config.json").exists()]
            if not parts and (root / "config.json").exists():
                parts = [root]
            yield from parts
