"""A tokenizer as a folder: its description and its vocabulary or model."""

import hashlib
import json
import os
import pathlib

from ulmfit_tf.text.sentencepiece_tokenizer import SentencePieceTokenizer
from ulmfit_tf.text.vocabulary import Vocabulary
from ulmfit_tf.text.word_tokenizer import WordTokenizer
from ulmfit_tf.whole_files import written_whole

_VERSION = 1
_DESCRIPTION = "tokenizer.json"
_FILES = {"word": "vocabulary.txt", "sentencepiece": "tokenizer.model"}
_OPTIONS = {"word": {"lowercase": bool}, "sentencepiece": {}}

Tokenizer = WordTokenizer | SentencePieceTokenizer


def save_tokenizer(tokenizer: Tokenizer, directory: str | os.PathLike) -> None:
    """Writes a tokenizer to a folder.

    The folder gets `vocabulary.txt` or `tokenizer.model` and then
    `tokenizer.json`, which holds the former's hash. Each file is written
    beside its place and renamed, so none is ever half there.

    Args:
        tokenizer: A `WordTokenizer` or `SentencePieceTokenizer`.
        directory: The folder; it may exist and hold other files.

    Raises:
        ValueError: If `tokenizer` is of another type.
    """
    description, content = _stored(tokenizer)
    directory = pathlib.Path(directory)
    with written_whole(directory / _FILES[description["type"]]) as beside:
        beside.write_bytes(content)
    with written_whole(directory / _DESCRIPTION) as beside:
        beside.write_text(
            json.dumps(description, indent=2) + "\n", encoding="utf-8"
        )


def tokenizer_fingerprint(tokenizer: Tokenizer) -> str:
    """Returns a str that differs if two tokenizers may give other ids.

    All of a SentencePiece model counts: its pieces may be another's and have
    other scores.

    Args:
        tokenizer: A `WordTokenizer` or `SentencePieceTokenizer`.
    """
    description, _ = _stored(tokenizer)
    content = json.dumps(description, sort_keys=True).encode("utf-8")
    return hashlib.sha256(content).hexdigest()


def load_tokenizer(directory: str | os.PathLike) -> Tokenizer:
    """Reads a tokenizer that `save_tokenizer` wrote.

    Args:
        directory: The folder.

    Returns:
        A `WordTokenizer` or `SentencePieceTokenizer`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or was written by a version that
            this one does not know.
    """
    directory = pathlib.Path(directory)
    path = directory / _DESCRIPTION
    try:
        description = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"`{path}` is not JSON: {error}. Copy the folder again."
        ) from error
    kind, options = _check_description(path, description)
    path = directory / _FILES[kind]
    content = path.read_bytes()
    received = hashlib.sha256(content).hexdigest()
    if received != description["sha256"]:
        raise ValueError(
            f"`{path}` is not the file that was saved: expected SHA-256 "
            f"{description['sha256']}. Received: {received}. Copy the folder "
            "again; to change a vocabulary, use `save_tokenizer`."
        )
    if kind == "word":
        return WordTokenizer(Vocabulary.load(path), **options)
    return SentencePieceTokenizer(content, **options)


def _stored(tokenizer):
    """Returns a tokenizer's description and its vocabulary or model."""
    if isinstance(tokenizer, WordTokenizer):
        kind, options = "word", {"lowercase": tokenizer.lowercase}
        content = tokenizer.vocabulary.to_bytes()
    elif isinstance(tokenizer, SentencePieceTokenizer):
        kind, options = "sentencepiece", {}
        content = tokenizer.model
    else:
        raise ValueError(
            "`tokenizer` must be a `WordTokenizer` or a "
            "`SentencePieceTokenizer`. Received: "
            f"{type(tokenizer).__name__}."
        )
    description = {
        "version": _VERSION,
        "type": kind,
        "options": options,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return description, content


def _check_description(path, description):
    expected = {"version", "type", "options", "sha256"}
    if not isinstance(description, dict) or set(description) != expected:
        raise ValueError(
            f"`{path}` must be a JSON object with the fields "
            f"{sorted(expected)}. Received: {description!r}. It may come "
            "from a newer version of ulmfit_tf."
        )
    if description["version"] != _VERSION:
        raise ValueError(
            f"`{path}` must have version {_VERSION}. Received: "
            f"version={description['version']!r}. Load it with the version "
            "of ulmfit_tf that wrote it."
        )
    kind, options = description["type"], description["options"]
    if not isinstance(kind, str) or kind not in _FILES:
        raise ValueError(
            f"`{path}`: the tokenizer's type must be one of "
            f"{sorted(_FILES)}. Received: type={kind!r}."
        )
    types = _OPTIONS[kind]
    if (
        not isinstance(options, dict)
        or set(options) != set(types)
        or not all(isinstance(options[name], types[name]) for name in types)
    ):
        raise ValueError(
            f"`{path}`: a {kind} tokenizer has the options "
            f"{sorted(types)}. Received: options={options!r}."
        )
    return kind, options
