"""Subword tokenizer: a SentencePiece unigram model inside the graph."""

import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import sentencepiece
import tensorflow as tf
import tensorflow_text
from google.protobuf import message
from sentencepiece import sentencepiece_model_pb2

from ulmfit_tf.text import rules
from ulmfit_tf.text.sampling import sample_pieces
from ulmfit_tf.text.vocabulary import (
    BEGIN_ID,
    PADDING_ID,
    SPECIAL_TOKENS,
    UNKNOWN_ID,
    Vocabulary,
)

# The module's classes are made at run time, out of mypy's sight.
_PROTOS: Any = sentencepiece_model_pb2
_MODEL_TYPES = _PROTOS.TrainerSpec.ModelType
_BATCH = 1024
# That pieces are learned from at most: about 1.5 million words of English.
# Training takes some 25 bytes and 3 microseconds for each.
_MOST_CHARACTERS = 8_000_000
# SHA-256 of SentencePiece 0.2's tables for `nmt_nfkc` and `nmt_nfkc_cf`.
# TensorFlow Text reads a table without checking it: another one, in a file from
# somebody else, may end the process.
_NORMALIZATIONS = (
    "1e2c7b43d3ee9755ceaa2ac335e253d8703604e0249ee1e81156c92b46423844",
    "2c03512e62f9ed965ec90d85314211b63b5b8aa0395311ea2147eec9ff738907",
)


class SentencePieceTokenizer(tf.Module):
    """Turns texts into subword ids with a SentencePiece unigram model.

    HTML remains and control characters are removed as in `WordTokenizer`;
    everything else, letter case included, is the model's own
    normalisation. The other rules of fastai are not applied. The model
    travels inside the SavedModel's graph; whoever loads that needs
    TensorFlow Text, which TF Serving has.

    A text never fails, its ids do not depend on the rest of the batch, and
    `PADDING_ID` is never returned.

    Args:
        model: The serialized model, as `train_sentencepiece` returns it.

    Call arguments:
        texts: String tensor `(batch,)`; invalid UTF-8 is replaced.

    Output shape:
        Ragged int32 tensor `(batch, None)`; each document begins with
        `BEGIN_ID`.

    Raises:
        ValueError: If `model` is not a unigram model that begins with
            `SPECIAL_TOKENS`, has a setting for which the fast tokenizer is
            wrong (such as byte fallback), or `texts` is not of rank 1.

    Example:
        >>> model = train_sentencepiece(texts, vocabulary_size=8000)
        >>> token_ids = SentencePieceTokenizer(model)(["A question?"])
    """

    def __init__(self, model: bytes) -> None:
        super().__init__(name="sentencepiece_tokenizer")
        self._vocabulary = _read_vocabulary(model)
        self._model = model
        self._tokenizer = tensorflow_text.FastSentencepieceTokenizer(model)

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's pieces, in the order of their ids."""
        return self._vocabulary

    @property
    def model(self) -> bytes:
        """The serialized model."""
        return self._model

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the pieces; unknown characters are `xxunk`.

        Args:
            texts: String tensor `(batch,)`.

        Returns:
            Ragged string tensor `(batch, None)`.
        """
        ids = self(texts)
        pieces = tf.constant(self._vocabulary.tokens)
        return ids.with_values(tf.gather(pieces, ids.values))

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the ids of `texts`; see the class."""
        texts = rules.normalize(texts)
        ids = self._tokenizer.tokenize(texts)
        ids = tf.where(ids == PADDING_ID, UNKNOWN_ID, ids)
        begins = tf.fill([tf.size(texts), 1], BEGIN_ID)
        return tf.concat([begins, ids], axis=1).with_row_splits_dtype(tf.int64)


def train_sentencepiece(
    texts: Iterable[str],
    vocabulary_size: int,
    lowercase: bool = False,
    character_coverage: float = 0.9995,
) -> bytes:
    """Trains a unigram model whose first ids are the special tokens.

    The same texts give the same model, byte for byte.

    Args:
        texts: The corpus, one string a document. It is streamed: of more
            than eight million characters, a random sample of eight million
            is learned from.
        vocabulary_size: Number of pieces at most, special tokens included;
            a small corpus yields fewer.
        lowercase: Whether the model folds letter case (`nmt_nfkc_cf`
            normalisation instead of `nmt_nfkc`).
        character_coverage: Fraction of the corpus' characters that the
            pieces cover; the rest is unknown. SentencePiece's default.

    Returns:
        The serialized model, for `SentencePieceTokenizer`.

    Raises:
        ValueError: If `vocabulary_size` is too small for the characters, or
            there is no text.
    """
    writer = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_normalized(
                sample_pieces(texts, _MOST_CHARACTERS)
            ),
            model_writer=writer,
            model_type="unigram",
            vocab_size=vocabulary_size,
            hard_vocab_limit=False,
            character_coverage=character_coverage,
            normalization_rule_name="nmt_nfkc_cf" if lowercase else "nmt_nfkc",
            unk_id=0,
            unk_piece=SPECIAL_TOKENS[0],
            pad_id=1,
            pad_piece=SPECIAL_TOKENS[1],
            bos_id=2,
            bos_piece=SPECIAL_TOKENS[2],
            eos_id=3,
            eos_piece=SPECIAL_TOKENS[3],
            user_defined_symbols=list(SPECIAL_TOKENS[4:]),
            # Bytes; SentencePiece silently skips longer lines.
            max_sentence_length=1 << 24,
            # More threads would make the result depend on their number.
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            "SentencePiece could not train on these texts. Received: "
            f"vocabulary_size={vocabulary_size}. {error}"
        ) from error
    return writer.getvalue()


def _normalized(texts: Iterable[str]) -> Iterator[str]:
    texts = iter(texts)
    while batch := list(itertools.islice(texts, _BATCH)):
        for text in rules.normalize(tf.constant(batch)).numpy():
            yield text.decode("utf-8")


def _read_vocabulary(model: bytes) -> Vocabulary:
    try:
        proto = _PROTOS.ModelProto.FromString(model)
    except (message.DecodeError, TypeError) as error:
        raise ValueError(
            "`model` must be the bytes of a SentencePiece model. Received: "
            f"{type(model).__name__}, which cannot be parsed. Pass the "
            "content of the `.model` file, whole."
        ) from error
    trainer = proto.trainer_spec
    # Each was seen to give other ids than the SentencePiece library.
    if trainer.model_type != _MODEL_TYPES.UNIGRAM:
        refused = f"model_type={_MODEL_TYPES.Name(trainer.model_type)}"
    elif trainer.byte_fallback:
        refused = "byte_fallback=True"
    elif trainer.treat_whitespace_as_suffix:
        refused = "treat_whitespace_as_suffix=True"
    elif not proto.normalizer_spec.add_dummy_prefix:
        refused = "add_dummy_prefix=False"
    elif trainer.unk_id != UNKNOWN_ID:
        refused = f"unk_id={trainer.unk_id}"
    elif not _is_known(proto.normalizer_spec.precompiled_charsmap):
        refused = "a normalization that is none of SentencePiece's"
    else:
        refused = None
    if refused:
        raise ValueError(
            "`model` must be a SentencePiece unigram model with the default "
            "`unk_id`, `byte_fallback`, `treat_whitespace_as_suffix` and "
            "`add_dummy_prefix`, normalized by `nmt_nfkc` or `nmt_nfkc_cf`: "
            "the fast tokenizer that runs in the graph would return wrong ids "
            "for any other without saying so, or crash. Received: "
            f"{refused}. Train a model with `train_sentencepiece`."
        )
    try:
        return Vocabulary(piece.piece for piece in proto.pieces)
    except ValueError as error:
        raise ValueError(
            "The SentencePiece model's pieces are not a vocabulary. "
            f"{error} Train the model with `train_sentencepiece`."
        ) from error


def _is_known(table: bytes) -> bool:
    return not table or hashlib.sha256(table).hexdigest() in _NORMALIZATIONS
