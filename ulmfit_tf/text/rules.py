"""fastai's text rules as TensorFlow string operations.

TensorFlow's regular expressions (RE2) have neither look-ahead nor
back-references, so repeated characters and words are found by run-length
encoding. Every function is linear in the length of the text.
"""

import re

import tensorflow as tf

# Raised when the same text gives other tokens than before: caches of token
# ids depend on it.
RULES_VERSION = 1

# fastai v2 counts from three repetitions, fastai 0.7 from four.
_MIN_REPEATS = 3

# The `&` may be missing, as in AG News; fastai leaves it standing.
_HTML_RULES = (
    (r"&?#(?:39|146);|(?:&|\b)quot;", "'"),
    (r"(?:&|\b)amp;", "&"),
    (r"(?:&|\b)nbsp;|<br ?/?>|\\n", " "),
    (r"&?#36;", "$"),
    (r"&lt;", "<"),
    (r"&gt;", ">"),
    (r'\\"', '"'),
    (r"<unk>", "xxunk"),
    # WikiText's notation for punctuation inside numbers and compounds.
    (r" @([.,-])@ ", r"\1"),
    (r"\.\.\.", " …"),
)

# White space and control characters that `tf.strings.split` does not know.
_OTHER_SPACES = (
    r"[\x00-\x08\x0e-\x1f\x7f-\x{a0}\x{1680}\x{2000}-\x{200b}"
    r"\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
)
# Soft hyphen, byte order mark and marks of the writing direction.
_INVISIBLE = (
    r"[\x{ad}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}\x{feff}]"
)

_REPEATED_ASCII = "|".join(
    re.escape(chr(code)) + f"{{{_MIN_REPEATS}}}" for code in range(33, 127)
)
# May hold a repeated character, or one that is always set apart.
_UNUSUAL_WORD = (
    rf".*(?:[/#\\]|[^\x00-\x7f]{{{_MIN_REPEATS}}}|{_REPEATED_ASCII}).*"
)


def normalize(texts: tf.Tensor) -> tf.Tensor:
    """Makes any bytes clean text: what all tokenizers begin with.

    Args:
        texts: String tensor `(batch,)`.

    Returns:
        String tensor `(batch,)`: valid UTF-8, without HTML remains, and
        without control characters.

    Raises:
        ValueError: If `texts` is not of rank 1.
    """
    texts = tf.convert_to_tensor(texts, tf.string)
    if texts.shape.rank != 1:
        raise ValueError(
            "`texts` must be a string tensor of shape `(batch,)`. "
            f"Received: shape={texts.shape}. Wrap a single text in a list."
        )
    # One row of invalid UTF-8 would fail the whole batch.
    texts = tf.strings.unicode_transcode(
        texts, "UTF-8", "UTF-8", errors="replace"
    )
    return clean_spaces(fix_html(texts))


def fix_html(texts: tf.Tensor) -> tf.Tensor:
    """Undoes the HTML remains of common data sets (fastai's `fix_html`).

    Other than in fastai an entity's `&` goes too, and of `html.unescape`
    only `&lt;` and `&gt;` are done.

    Args:
        texts: String tensor `(batch,)`.

    Returns:
        String tensor `(batch,)`.
    """
    for pattern, replacement in _HTML_RULES:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return texts


def clean_spaces(texts: tf.Tensor) -> tf.Tensor:
    """Makes all white space and control characters blanks.

    Args:
        texts: String tensor `(batch,)`.

    Returns:
        String tensor `(batch,)`, without invisible direction marks.
    """
    texts = tf.strings.regex_replace(texts, _OTHER_SPACES, " ")
    return tf.strings.regex_replace(texts, _INVISIBLE, "")


def replace_repeated_characters(words: tf.Tensor) -> tf.Tensor:
    r"""Writes `xxrep N c` for N >= 3 equal characters (`replace_rep`).

    Then sets `/`, `#` and `\` apart (`spec_add_spaces`).

    Args:
        words: String tensor `(words,)` without white space or empty words.

    Returns:
        String tensor `(words,)` in which blanks separate the parts.
    """
    unusual = tf.where(tf.strings.regex_full_match(words, _UNUSUAL_WORD))
    replaced = _encode_runs(tf.gather_nd(words, unusual))
    replaced = tf.strings.regex_replace(replaced, r"[/#\\]", r" \0 ")
    return tf.tensor_scatter_nd_update(words, unusual, replaced)


def _encode_runs(words: tf.Tensor) -> tf.Tensor:
    characters = tf.strings.unicode_decode(words, "UTF-8")
    codes = characters.values
    starts, lengths, rows = _runs(codes, characters.value_rowids())
    repeated = lengths >= _MIN_REPEATS
    # Between repeated characters lie segments of ordinary ones.
    new_segment = (
        repeated | _shifted(repeated, False) | (rows != _shifted(rows, -1))
    )
    heads = tf.boolean_mask(starts, new_segment)
    repeated = tf.boolean_mask(repeated, new_segment)
    lengths = tf.boolean_mask(lengths, new_segment)
    rows = tf.boolean_mask(rows, new_segment)
    segments = tf.strings.unicode_encode(
        tf.RaggedTensor.from_row_starts(codes, heads, validate=False), "UTF-8"
    )
    marked = tf.strings.join(
        [
            " xxrep ",
            tf.strings.as_string(lengths),
            " ",
            tf.strings.substr(segments, 0, 1, unit="UTF8_CHAR"),
            " ",
        ]
    )
    segments = tf.where(repeated, marked, segments)
    return tf.strings.reduce_join(
        tf.RaggedTensor.from_value_rowids(
            segments, rows, nrows=tf.shape(words, tf.int64)[0], validate=False
        ),
        axis=-1,
    )


def replace_repeated_words(
    words: tf.Tensor, indices: tf.RaggedTensor
) -> tuple[tf.Tensor, tf.RaggedTensor]:
    """Writes `xxwrep N word` for N >= 3 equal words (`replace_wrep`).

    The last of them may carry punctuation, as in "no no no!". The first
    word of a document never counts, so that it can be `xxbos`.

    Args:
        words: String tensor `(distinct,)`, the words that occur.
        indices: Ragged integer tensor `(batch, None)`, the documents as
            positions in `words`. No document is empty.

    Returns:
        The same two, with words added to `words` and the repetitions in
        `indices` replaced.
    """
    flat = indices.values
    documents = indices.value_rowids()
    # A document's first word gets a row of its own: it equals no neighbour.
    rows = tf.tensor_scatter_nd_update(
        documents,
        indices.row_starts()[:, None],
        -1 - tf.range(indices.nrows()),
    )
    starts, lengths, rows = _runs(flat, rows)
    pairs = lengths >= _MIN_REPEATS - 1
    starts, lengths, rows = (
        tf.boolean_mask(part, pairs) for part in (starts, lengths, rows)
    )
    repeated = tf.gather(words, tf.gather(flat, starts))

    # The word after each run counts too if only punctuation is added to it.
    after = tf.minimum(starts + lengths, tf.size(flat, tf.int64) - 1)
    follower = tf.gather(words, tf.gather(flat, after))
    rest = tf.strings.regex_replace(follower, r"^[\pL\pN_]+", "")
    trailing = (tf.gather(documents, after) == rows) & (
        tf.strings.join([repeated, rest]) == follower
    )
    trailing &= rest != ""
    lengths += tf.cast(trailing, lengths.dtype)
    chosen = (lengths >= _MIN_REPEATS) & tf.strings.regex_full_match(
        repeated, r"[\pL\pN_]+"
    )
    starts, lengths, trailing, after, rest = (
        tf.boolean_mask(part, chosen)
        for part in (starts, lengths, trailing, after, rest)
    )

    # New words, and their places in `words`.
    known = tf.size(words, tf.int64)
    chosen_runs = tf.size(starts, tf.int64)
    words = tf.concat(
        [words, ["xxwrep"], tf.strings.as_string(lengths), rest], axis=0
    )
    number = known + 1 + tf.range(chosen_runs)
    flat = tf.tensor_scatter_nd_update(
        flat,
        tf.boolean_mask(after, trailing)[:, None],
        tf.boolean_mask(number + chosen_runs, trailing),
    )

    # The first word of a run becomes three, its other words vanish.
    counts = _fill_runs(
        tf.size(flat, tf.int64),
        starts,
        lengths - tf.cast(trailing, lengths.dtype),
    )
    ends = tf.cumsum(counts)
    places = tf.gather(ends, starts)[:, None]
    flat = tf.repeat(flat, counts)
    flat = tf.tensor_scatter_nd_update(
        flat, places - 3, tf.fill([chosen_runs], known)
    )
    flat = tf.tensor_scatter_nd_update(flat, places - 2, number)
    splits = tf.gather(tf.concat([[0], ends], axis=0), indices.row_splits)
    return words, tf.RaggedTensor.from_row_splits(flat, splits, validate=False)


def _fill_runs(size, starts, lengths):
    """Ones, but for each run a three and then zeros."""
    ones = tf.ones([size], tf.int64)
    inside = tf.ragged.range(starts, starts + lengths).values
    counts = tf.tensor_scatter_nd_update(
        ones, inside[:, None], tf.zeros_like(inside)
    )
    return tf.tensor_scatter_nd_update(
        counts, starts[:, None], 3 * tf.ones_like(starts)
    )


def _runs(values, rows):
    """Starts, lengths and rows of the runs of equal values within a row."""
    changed = (values != _shifted(values, -1)) | (rows != _shifted(rows, -1))
    starts = tf.reshape(tf.where(changed), [-1])
    ends = tf.concat([starts[1:], tf.shape(values, tf.int64)], axis=0)
    return starts, ends - starts, tf.gather(rows, starts)


def _shifted(values, first):
    first = tf.constant([first], values.dtype)
    return tf.concat([first, values], axis=0)[:-1]
