"""Pretrained language models: loading by name and saving."""

import dataclasses
import logging
import pathlib

from ulmfit_tf import models
from ulmfit_tf.pretrained import curve as curves
from ulmfit_tf.pretrained.directories import (
    decode_weights,
    encode_weights,
    read_model,
    write_model,
)

logger = logging.getLogger(__name__)

_FORMAT = "ulmfit_tf.language_model"
# 1: float32 or float16 weights. 2: int8 ones too.
_VERSION = 2
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
        curve: Tuple of `CurvePoint`, how its training went; may be empty.
    """

    architecture: models.Architecture
    direction: str
    tokenizer: object
    weights: dict
    curve: tuple = ()

    @classmethod
    def from_preset(cls, preset, direction="forward"):
        """Loads a language model; see `load_pretrained`.

        Args:
            preset: Name of a shipped model, or path of a model directory.
            direction: `"forward"` or `"backward"`.

        Example:
            >>> source = PretrainedLanguageModel.from_preset("compact")
            >>> model = source.build(batch_size=16)
        """
        return load_pretrained([preset], direction)

    def save_to_preset(self, directory, model_card="", dtype="float32"):
        """Writes the model to a new directory, whole or not at all.

        Args:
            directory: Path that does not exist yet.
            model_card: Str, Markdown.
            dtype: `"float32"`, `"float16"` or `"int8"`, see `encode_weights`.
        """
        config = {
            "format": _FORMAT,
            "version": _VERSION,
            "architecture": dataclasses.asdict(self.architecture),
            "direction": self.direction,
        }
        files = [("model_card.md", model_card)]
        if self.curve:
            files.append((curves.FILE, curves.curve_text(self.curve)))
        write_model(
            directory,
            config,
            self.tokenizer,
            encode_weights(self.weights, dtype),
            files,
        )

    def as_stored(self, dtype):
        """Returns what `save_to_preset` and loading would make of the model.

        Args:
            dtype: See `save_to_preset`.

        Returns:
            `(model, size)`: a `PretrainedLanguageModel`, and the bytes of its
            weights in a file.
        """
        encoded = encode_weights(self.weights, dtype)
        size = sum(array.nbytes for array in encoded.values())
        weights = decode_weights(encoded)
        return dataclasses.replace(self, weights=weights), size

    def build(self, batch_size, **kwargs):
        """Returns a `models.LanguageModel` with these weights.

        Args:
            batch_size: Int, streams read in parallel.
            **kwargs: Other arguments of `models.LanguageModel`.
        """
        model = models.LanguageModel(
            len(self.tokenizer.vocabulary),
            self.architecture,
            batch_size=batch_size,
            **kwargs,
        )
        model.build()
        models.set_weights(models.language_model_weights(model), self.weights)
        return model


def load_pretrained(names, direction="forward"):
    """Loads a pretrained language model by name or from a directory.

    Args:
        names: Name of a shipped model, or path, or a list of these, of which
            the first that has the direction is taken. A path is a directory
            of a model, or one with subdirectories `forward` and `backward`.
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
        config, tokenizer, weights = read_model(
            directory, _FORMAT, _VERSION, ("architecture", "direction")
        )
        found.append(f"{directory} ({config['direction']})")
        if config["direction"] == direction:
            architecture = _architecture(directory, config["architecture"])
            _check_shapes(directory, architecture, tokenizer, weights)
            return PretrainedLanguageModel(
                architecture,
                direction,
                tokenizer,
                weights,
                curves.read_curve(directory),
            )
    raise ValueError(
        f"There is no pretrained {direction} language model in "
        f"{', '.join(map(str, names))}. Found: {', '.join(found) or 'none'}. "
        "Expected: the name of a shipped model "
        f"({', '.join(shipped_models())}) or a directory that `python -m "
        "trainers.language_model` wrote. To train without one, pass "
        "`--pretrained none`."
    )


def shipped_models():
    """Returns the names of the models that come with this package."""
    return sorted(path.name for path in _SHIPPED.glob("*") if path.is_dir())


def _candidates(names):
    """Yields the directories of language models that the names stand for."""
    for name in names:
        if name not in shipped_models():
            root = pathlib.Path(name)
        else:
            root = _SHIPPED / name
            if pathlib.Path(name).is_dir():
                logger.warning(
                    "`%s` is taken for the shipped model, not for the folder "
                    "of that name here. Write `./%s` for the folder.",
                    name,
                    name,
                )
        parts = [root / part for part in ("forward", "backward")]
        try:
            parts = [p for p in parts if (p / "config.json").exists()]
            if not parts and (root / "config.json").exists():
                parts = [root]
        except OSError as error:
            raise ValueError(
                f"`{name:.80}` cannot be looked up: {error.strerror}. Expected "
                "the name of a shipped model or its directory."
            ) from error
        yield from parts


def _architecture(directory, sizes):
    try:
        return models.Architecture(**sizes)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{directory / 'config.json'}` is damaged: {error} Fetch the "
            "model again."
        ) from error


def _check_shapes(directory, architecture, tokenizer, weights):
    """Raises `ValueError` unless config, vocabulary and weights agree."""
    size = len(tokenizer.vocabulary)
    features = architecture.embedding_units
    expected = {"embedding": (size, features), "decoder/bias": (size,)}
    for index in range(1, architecture.num_layers + 1):
        is_last = index == architecture.num_layers
        units = (
            architecture.embedding_units
            if is_last
            else architecture.hidden_units
        )
        expected |= {
            f"lstm_{index}/kernel": (features, 4 * units),
            f"lstm_{index}/recurrent_kernel": (units, 4 * units),
            f"lstm_{index}/bias": (4 * units,),
        }
        features = units
    found = {name: array.shape for name, array in weights.items()}
    if found != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))
        raise ValueError(
            f"`{directory}`: the weights are not of {architecture} with "
            f"{size} words; they differ in {wrong[0][0]!r}. config.json or "
            "the weights are another model's: fetch the model again."
        )
