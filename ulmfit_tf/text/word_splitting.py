"""Splits words as spaCy's English tokenizer does, and marks capitals."""

import tensorflow as tf

# A contraction's apostrophe while quotes are split off; no text holds it,
# because `rules.clean_spaces` removes control characters.
_APOSTROPHE = "\x01"

_EMOTICON = r"(?i)<3|[:;=][-']?[()\[\]{}|*dpo]"
_EMOJI = r"\p{So}[\x{fe0f}\x{1f3fb}-\x{1f3ff}]*"

# Tokens by themselves wherever they occur.
_ISOLATED = "|".join(
    (
        r"\.{2,}|-{2,}|``|''",
        r"[\x{1f1e6}-\x{1f1ff}]{2}",
        rf"{_EMOJI}(?:\x{{200d}}{_EMOJI})*",
        r"[\p{Han}\p{Hiragana}\p{Katakana}]",
        r"[!?;\"()\[\]{}*%\p{Sm}\p{Sc}\p{Sk}]",
        r"[\x{a1}\x{a7}\x{ab}\x{b6}\x{b7}\x{bb}\x{bf}\x{589}\x{5be}\x{60c}"
        r"\x{61b}\x{61f}\x{66a}\x{6d4}\x{964}\x{965}\x{2010}-\x{2017}"
        r"\x{201a}-\x{2027}\x{2030}-\x{205e}\x{3001}-\x{3003}"
        r"\x{3008}-\x{3011}\x{3014}-\x{301f}\x{ff01}-\x{ff0f}"
        r"\x{ff1a}-\x{ff20}\x{ff3b}-\x{ff40}\x{ff5b}-\x{ff65}]",
    )
)

_SPLITTING_RULES = (
    (_ISOLATED, r" \0 "),
    # 1,000 and 10:30 stay whole.
    (r"(^|[^0-9])([,:])", r"\1 \2 "),
    (r"([,:])($|[^0-9])", r" \1 \2"),
    # well-known and 3-1 are split, -5 and mp-3 are not.
    (r"-(\pL)", r" - \1"),
    (r"([0-9])-", r"\1 - "),
    (r"(?i)(n)['’](t)\b", rf" \1{_APOSTROPHE}\2"),
    (r"(?i)['’](s|re|ve|ll|d|m)\b", rf" {_APOSTROPHE}\1"),
    # Quotes around a word; o'clock keeps its apostrophe.
    (r"(^| )(['‘’]|_+)([^ '‘’_])", r"\1\2 \3"),
    (r"([^ '‘’_])(['‘’]|_+)(\.?)( |$)", r"\1 \2 \3\4"),
    # A final full stop, but u.s. and initials stay whole.
    (r"(?i)(?:^| )(?:\.+|(?:[a-z]\.)+)|\.(?: |$)", r" \0"),
    (_APOSTROPHE, "'"),
)


def split_punctuation(words: tf.Tensor, lowercase: bool) -> tf.Tensor:
    """Separates punctuation and contractions, and marks capitals.

    With `lowercase`, fastai's `replace_all_caps` and `replace_maj` come
    first: `xxup` before a word of two or more capitals, `xxmaj` before a
    capitalised one, and all letters become small.

    Args:
        words: String tensor `(words,)` without white space.
        lowercase: Whether to mark capitals and make letters small.

    Returns:
        String tensor `(words,)` in which blanks separate the tokens.
    """
    # Most words are plain; the rules below would not change them.
    odd = tf.where(~tf.strings.regex_full_match(words, "[a-z]+"))
    pieces = tf.gather_nd(words, odd)
    if lowercase:
        mark = tf.where(
            tf.strings.regex_full_match(pieces, "[A-Z][^a-z]+"),
            "xxup ",
            tf.where(
                tf.strings.regex_full_match(pieces, "[A-Z][^A-Z]+"),
                "xxmaj ",
                "",
            ),
        )
        pieces = tf.strings.lower(pieces, encoding="utf-8")
    split = pieces
    for pattern, replacement in _SPLITTING_RULES:
        split = tf.strings.regex_replace(split, pattern, replacement)
    emoticon = tf.strings.regex_full_match(pieces, _EMOTICON)
    pieces = tf.where(emoticon, pieces, split)
    if lowercase:
        pieces = tf.strings.join([mark, pieces])
    return tf.tensor_scatter_nd_update(words, odd, pieces)
