"""fastai's names and shapes of weights, and ours."""

import dataclasses
import re

import numpy as np

from ulmfit_tf import models, text
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.pretrained.fastai_vocabulary import is_cased, our_vocabulary
from ulmfit_tf.pretrained.language_model_files import PretrainedLanguageModel

# Copies of the embedding.
_COPIES = re.compile(
    r"(0\.)?(encoder_dp\.emb|encoder_with_dropout\.embed)\.weight"
)
_LSTM = re.compile(
    r"(?:0\.)?rnns\.(\d{1,2})\.(?:module\.)?"
    r"(weight_ih_l0|weight_hh_l0|weight_hh_l0_raw|bias_ih_l0|bias_hh_l0)"
)
_LAYER = {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}


@dataclasses.dataclass(frozen=True)
class Imported:
    """A language model of fastai's in this project's form.

    Attributes:
        model: `PretrainedLanguageModel`.
        source_ids: Int array `(vocabulary_size,)`: fastai's id of each of
            the model's tokens, -1 for special tokens that fastai's lacks.
        notes: List of str, what a user should know about it.
    """

    model: PretrainedLanguageModel
    source_ids: np.ndarray
    notes: list


def import_language_model(weights, words, direction, where):
    """Turns fastai's weights and vocabulary into this project's.

    Keras has one bias for PyTorch's two, their sum; its kernels are
    PyTorch's transposed, with the gates in the same order. `..._raw` is the
    recurrent kernel without dropout; beside it fastai 1 stores the one of
    the last training step.

    Args:
        weights: Dict of float32 arrays by fastai's names, as `read_weights`
            returns it.
        words: List of str, fastai's `itos`.
        direction: `"forward"` or `"backward"`.
        where: What the words come from, for messages.

    Returns:
        An `Imported`.

    Raises:
        DataError: If the vocabulary is not fastai's, or not the weights'.
    """
    vocabulary, source_ids = our_vocabulary(words, where)
    embedding = weights["embedding"]
    if len(words) != len(embedding):
        raise DataError(
            f"`{where}` has {len(words)} words, and the weights are for "
            f"{len(embedding)}. Give the vocabulary that was saved with the "
            "weights."
        )
    notes = []
    missing = [vocabulary[i] for i in np.flatnonzero(source_ids < 0)]
    if missing:
        notes.append(
            f"fastai's vocabulary lacks {', '.join(missing)}; they start at "
            "the mean of all words."
        )
    lowercase = not is_cased(words)
    if not lowercase:
        notes.append("The vocabulary is cased, so the tokenizer is.")
    bias = weights.get("decoder/bias")
    if bias is None:
        notes.append(
            "fastai's file has no output bias (an encoder, or a decoder "
            "without one); it starts at zero."
        )
        bias = np.zeros(len(words), "float32")
    arrays = {
        **weights,
        "embedding": _rows(embedding, source_ids),
        "decoder/bias": _rows(bias, source_ids),
    }
    return Imported(
        PretrainedLanguageModel(
            _architecture(weights),
            direction,
            text.WordTokenizer(vocabulary, lowercase=lowercase),
            arrays,
        ),
        source_ids,
        notes,
    )


def read_weights(file, where):
    """Reads the tensors that an AWD-LSTM consists of, by our names.

    Args:
        file: `TorchFile`.
        where: What it is read from, for messages.

    Returns:
        Dict of float32 arrays, rows of words still in fastai's order;
        without `decoder/bias` if fastai's has none.

    Raises:
        DataError: If they are no tied, one-directional AWD-LSTM.
    """
    state = file.state_dict()
    layers, tensors = {}, {}
    unknown = []
    for name, tensor in state.items():
        if match := _LSTM.fullmatch(name):
            layers.setdefault(int(match[1]), {})[match[2]] = tensor
        elif name in ("0.encoder.weight", "encoder.weight"):
            tensors["embedding"] = tensor
        elif name in ("1.decoder.weight", "1.decoder.bias"):
            tensors[name.removeprefix("1.")] = tensor
        elif not _COPIES.fullmatch(name):
            unknown.append(name)
    if unknown or "embedding" not in tensors or not layers:
        raise DataError(_refusal(where, list(state), unknown))
    if sorted(layers) != list(range(len(layers))):
        raise DataError(
            f"`{where}` has LSTM layers {sorted(layers)[:9]}; layers from 0 on "
            "were expected. It is damaged: fetch it again."
        )
    _check_shapes(where, tensors, layers)
    embedding = file.read(tensors["embedding"])
    weights = {"embedding": embedding}
    for index, layer in sorted(layers.items()):
        recurrent = layer.get("weight_hh_l0_raw") or layer["weight_hh_l0"]
        name = f"lstm_{index + 1}"
        weights[f"{name}/kernel"] = _transposed(file, layer["weight_ih_l0"])
        weights[f"{name}/recurrent_kernel"] = _transposed(file, recurrent)
        weights[f"{name}/bias"] = file.read(layer["bias_ih_l0"]) + file.read(
            layer["bias_hh_l0"]
        )
    if "decoder.weight" in tensors and not np.array_equal(
        file.read(tensors["decoder.weight"]), embedding
    ):
        raise DataError(
            f"`{where}`: the decoder has a matrix of its own. Only models "
            "whose decoder shares the embedding's (fastai's default, "
            "`tie_weights=True`) can be imported."
        )
    if "decoder.bias" in tensors:
        weights["decoder/bias"] = file.read(tensors["decoder.bias"])
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise DataError(
                f"`{where}`: `{name}` has values that are not finite. The "
                "training has failed or the file is damaged."
            )
    return weights


def export_weights(model):
    """Returns a language model's weights by fastai 2's names, in its order.

    Args:
        model: `PretrainedLanguageModel`.

    Returns:
        Dict of float32 arrays; the copies of the embedding are one object.
    """
    weights = model.weights
    embedding = weights["embedding"]
    state = {
        "0.encoder.weight": embedding,
        "0.encoder_dp.emb.weight": embedding,
    }
    for index in range(model.architecture.num_layers):
        ours, theirs = f"lstm_{index + 1}", f"0.rnns.{index}"
        bias = weights[f"{ours}/bias"]
        state |= {
            f"{theirs}.weight_hh_l0_raw": weights[f"{ours}/recurrent_kernel"].T,
            f"{theirs}.module.weight_ih_l0": weights[f"{ours}/kernel"].T,
            f"{theirs}.module.bias_ih_l0": bias,
            f"{theirs}.module.bias_hh_l0": np.zeros_like(bias),
        }
    return state | {
        "1.decoder.weight": embedding,
        "1.decoder.bias": weights["decoder/bias"],
    }


def _transposed(file, tensor):
    return np.ascontiguousarray(file.read(tensor).T)


def _rows(array, source_ids):
    """Rows in the order of our vocabulary; the mean where there is none."""
    # float64: a float32 sum over 60,000 rows loses digits.
    mean = array.mean(axis=0, dtype="float64").astype("float32")
    missing = (source_ids < 0).reshape(-1, *[1] * (array.ndim - 1))
    return np.where(missing, mean, array[source_ids])


def _architecture(weights):
    embedding_units = weights["embedding"].shape[1]
    units = [
        array.shape[0]
        for name, array in weights.items()
        if name.endswith("/recurrent_kernel")
    ]
    return models.Architecture(embedding_units, units[0], len(units))


def _check_shapes(where, tensors, layers):
    """Raises `DataError` unless the tensors fit together as an AWD-LSTM."""
    for index, layer in layers.items():
        present = {name.removesuffix("_raw") for name in layer}
        if lacking := sorted(_LAYER - present):
            raise DataError(
                f"`{where}`: LSTM layer {index} lacks {', '.join(lacking)}. "
                "The file is damaged or of another model."
            )
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    vocabulary_size, features = (*shapes["embedding"], 0, 0)[:2]
    expected = {
        "embedding": (vocabulary_size, features),
        "decoder.weight": (vocabulary_size, features),
        "decoder.bias": (vocabulary_size,),
    }
    embedding_units = features
    hidden_units = (*layers[0]["bias_ih_l0"].shape, 0)[0] // 4
    for index, layer in sorted(layers.items()):
        is_last = index == len(layers) - 1
        units = embedding_units if is_last else hidden_units
        for name, tensor in layer.items():
            key = f"rnns.{index}.{name}"
            shapes[key] = tensor.shape
            expected[key] = {
                "weight_ih_l0": (4 * units, features),
                "weight_hh_l0": (4 * units, units),
                "weight_hh_l0_raw": (4 * units, units),
            }.get(name, (4 * units,))
        features = units
    for name, shape in shapes.items():
        if shape != expected[name] or 0 in shape:
            raise DataError(
                f"`{where}`: `{name}` has shape {shape}, where an AWD-LSTM "
                f"whose last layer is as wide as its embedding has "
                f"{expected[name]}. Only such models can be imported."
            )


def _refusal(where, names, unknown):
    """Says why weights by these names are no language model of ours."""
    if any(name.startswith("0.module.") for name in names):
        reason = (
            "It is a text classifier. Import its language model, or what "
            "`learn.save_encoder` wrote"
        )
    elif any(name.endswith("_reverse") for name in names):
        reason = (
            "Its LSTM layers read in both directions (`bidir=True`), a "
            "model that this project does not have"
        )
    elif any(".linear." in name for name in names):
        reason = (
            "It is a QRNN (`qrnn=True`), a layer that this project does not "
            "have"
        )
    else:
        reason = (
            "It is no AWD-LSTM. Save a language model of `AWD_LSTM` with "
            "`learn.save`"
        )
    strange = [str(name)[:60] for name in (unknown or names)[:3]]
    return (
        f"`{where}` cannot be imported. {reason}. It has, for example: "
        f"{', '.join(strange) or 'no weights'}."
    )
