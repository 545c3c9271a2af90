"""Word tokenizer with fastai's rules, in TensorFlow operations alone."""

import os
import tempfile

import tensorflow as tf

from ulmfit_tf.text import rules, word_splitting
from ulmfit_tf.text.vocabulary import (
    BEGIN_ID,
    PADDING_ID,
    SPECIAL_TOKENS,
    UNKNOWN_ID,
    Vocabulary,
)

_BEGIN = SPECIAL_TOKENS[BEGIN_ID]
# Strings live on the CPU; the integers between them must not go elsewhere.
_DEVICE = "CPU:0"


class WordTokenizer(tf.Module):
    """Turns texts into word ids as fastai v2 does.

    Applies fastai's rules (HTML remains, `xxrep`, `xxwrep`, `xxup`, `xxmaj`,
    see `split_words`) and looks the tokens up in the vocabulary. All of it
    is core TensorFlow operations, so the tokenizer works inside `tf.data`
    and inside a SavedModel, where the vocabulary travels as an asset.

    A text never fails and its ids do not depend on the rest of the batch.
    `PADDING_ID` is never returned: downstream, padding is recognised by its
    id, so the literal word "xxpad" becomes `UNKNOWN_ID`.

    Args:
        vocabulary: The `Vocabulary` whose ids are returned.
        lowercase: Whether to make letters small and mark capitals with
            `xxup` and `xxmaj`. Otherwise letters stay as they are.

    Call arguments:
        texts: String tensor `(batch,)`; invalid UTF-8 is replaced.

    Output shape:
        Ragged int32 tensor `(batch, None)`; each document begins with
        `BEGIN_ID`.

    Raises:
        ValueError: If `vocabulary` is not a `Vocabulary`, or `texts` not of
            rank 1.

    Example:
        >>> vocabulary = Vocabulary([*SPECIAL_TOKENS, "the", "cat"])
        >>> tokenizer = WordTokenizer(vocabulary)
        >>> tokenizer(["The cat", ""])
        <tf.RaggedTensor [[2, 8, 9, 10], [2]]>

    Reference:
        fastai v2, `fastai.text.core`.
    """

    def __init__(self, vocabulary: Vocabulary, lowercase: bool = True) -> None:
        super().__init__(name="word_tokenizer")
        if not isinstance(vocabulary, Vocabulary):
            raise ValueError(
                "`vocabulary` must be a `Vocabulary`. Received: "
                f"{type(vocabulary).__name__}. Use `Vocabulary(tokens)` or "
                "`Vocabulary.load(path)`."
            )
        self._vocabulary = vocabulary
        self._lowercase = bool(lowercase)
        # Saving copies the asset, so its source stays as long as the table.
        self._directory = tempfile.TemporaryDirectory(prefix="ulmfit_tf_")
        path = os.path.join(self._directory.name, "vocabulary.txt")
        vocabulary.save(path)
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                path,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                vocab_size=len(vocabulary),
            ),
            default_value=UNKNOWN_ID,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary whose ids are returned."""
        return self._vocabulary

    @property
    def lowercase(self) -> bool:
        """Whether letters are made small."""
        return self._lowercase

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the tokens themselves, known to the vocabulary or not.

        Args:
            texts: String tensor `(batch,)`.

        Returns:
            Ragged string tensor `(batch, None)`.
        """
        return split_words(texts, self._lowercase)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the ids of `texts`; see the class."""
        with tf.device(_DEVICE):
            tokens, indices = _tokens_of_words(texts, self._lowercase)
            ids = tf.cast(self._table.lookup(tokens.values), tf.int32)
            ids = tf.where(ids == PADDING_ID, UNKNOWN_ID, ids)
            return _gather_documents(tokens.with_values(ids), indices)


def split_words(texts: tf.Tensor, lowercase: bool = True) -> tf.RaggedTensor:
    """Splits texts into tokens by fastai's rules, without a vocabulary.

    HTML remains are undone, three or more equal words become `xxwrep N
    word`, three or more equal characters `xxrep N c`, `/` and `#` are set
    apart, all-capital words get `xxup`, capitalised ones `xxmaj`, letters
    become small, and words are split as spaCy's English tokenizer does. White
    space, line feeds included, is no token.

    That is fastai's order but for the repetitions: there characters come
    first, and words in which some repeat are no longer equal. "sooo sooo
    sooo" is `xxwrep 3 s xxrep 3 o` here, and three times `s xxrep 3 o` there.

    Args:
        texts: String tensor `(batch,)`; invalid UTF-8 is replaced.
        lowercase: Whether to make letters small and mark capitals.

    Returns:
        Ragged string tensor `(batch, None)`; each document begins with
        `xxbos`.

    Raises:
        ValueError: If `texts` is not of rank 1.

    Example:
        >>> split_words(["Don't PANIC!!!"])
        <tf.RaggedTensor [[b'xxbos', b'xxmaj', b'do', b"n't", b'xxup',
        b'panic', b'xxrep', b'3', b'!']]>
    """
    with tf.device(_DEVICE):
        return _gather_documents(*_tokens_of_words(texts, lowercase))


def _tokens_of_words(texts, lowercase):
    """Tokens of each distinct word, and the documents as such words.

    Words repeat, so each distinct one is split, and looked up, only once.

    Returns:
        Ragged string tensor `(words, None)` and ragged integer tensor
        `(batch, None)` of positions in it.
    """
    texts = rules.normalize(texts)
    words = tf.strings.split(tf.strings.join([_BEGIN, texts], " "))
    distinct, indices = tf.unique(words.values, out_idx=tf.int64)
    distinct, indices = rules.replace_repeated_words(
        distinct, words.with_values(indices)
    )
    parts = tf.strings.split(rules.replace_repeated_characters(distinct))
    tokens = tf.strings.split(
        word_splitting.split_punctuation(parts.values, lowercase)
    )
    return _merge(tokens, parts.row_splits), indices


def _gather_documents(tokens, indices):
    return _merge(tf.gather(tokens, indices.values), indices.row_splits)


def _merge(ragged, outer_splits):
    """Joins the rows of `ragged` into the rows that `outer_splits` tells."""
    return tf.RaggedTensor.from_row_splits(
        ragged.values,
        tf.gather(ragged.row_splits, outer_splits),
        validate=False,
    )


def join_fields(*columns):
    """Joins several text columns into one, as fastai does.

    Args:
        *columns: Strings, or string tensors `(batch,)`, one a field.

    Returns:
        `xxfld 1 <first> xxfld 2 <second> ...`: a string if all columns are
        strings, else a string tensor `(batch,)`.

    Raises:
        ValueError: If there is no column.

    Example:
        >>> join_fields("Title", "Body")
        'xxfld 1 Title xxfld 2 Body'
    """
    if not columns:
        raise ValueError("`join_fields` needs at least one column.")
    parts = []
    for number, column in enumerate(columns, start=1):
        parts += [f"xxfld {number}", column]
    if all(isinstance(column, str) for column in columns):
        return " ".join(parts)
    return tf.strings.join(parts, " ")
