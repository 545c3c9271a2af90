"""Readable text from tokens: undoes the word tokenizer's marks and spaces."""

import re
from collections.abc import Iterable, Iterator, Sequence

# A model may write any number after `xxrep`.
_MOST_REPEATS = 20

_NO_SPACE_BEFORE = re.compile(
    r"[,.;:!?%)\]}…’”»]+|\.{2,}|n['’]t|['’](?:s|re|ve|ll|d|m)|''"
)
_NO_SPACE_AFTER = re.compile(r"[(\[{$£€#“‘«]|``")
# Between two words; `split_words` sets them apart.
_JOINED = re.compile(r"[-/]")
_STRAIGHT_QUOTES = ('"', "'")


def detokenize_words(tokens: Iterable[str]) -> str:
    """Returns tokens of `split_words` as text.

    `xxmaj` and `xxup` become capitals, `xxrep N c` and `xxwrep N word`
    repetitions, contractions and punctuation join their word, and straight
    quotes open and close in turn. What the tokens do not tell is lost or
    guessed: single capitals, apostrophes after a plural, blanks around a
    dash. Marks that mark nothing and all other special tokens vanish.

    Args:
        tokens: Tokens in reading order.

    Example:
        >>> detokenize_words(["xxmaj", "do", "n't", "xxup", "panic", "!"])
        "Don't PANIC!"
    """
    pieces: list[str] = []
    glue = True
    open_quotes: set[str] = set()
    for word in _without_marks(list(tokens)):
        tight_after = bool(_NO_SPACE_AFTER.fullmatch(word))
        tight_before = bool(_NO_SPACE_BEFORE.fullmatch(word))
        if _JOINED.fullmatch(word):
            tight_before = tight_after = bool(pieces)
        if word in _STRAIGHT_QUOTES:
            tight_before = word in open_quotes
            tight_after = not tight_before
            open_quotes ^= {word}
        if not glue and not tight_before:
            pieces.append(" ")
        pieces.append(word)
        glue = tight_after
    return "".join(pieces)


def detokenize_pieces(pieces: Iterable[str]) -> str:
    """Returns SentencePiece pieces as text; special tokens vanish."""
    return "".join(piece for piece in pieces if not _is_special(piece)).replace(
        "\u2581", " "
    )


def _is_special(token: str) -> bool:
    return bool(re.fullmatch(r"xx(?:unk|pad|bos|eos|fld|fake\d+)", token))


def _without_marks(tokens: Sequence[str]) -> Iterator[str]:
    """Yields words with marks undone and special tokens left out."""
    capital, repeats = None, 1
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token in ("xxmaj", "xxup"):
            capital = token
            continue
        if token in ("xxrep", "xxwrep"):
            number = tokens[position] if position < len(tokens) else ""
            if number.isdecimal():
                position += 1
                repeats = min(int(number), _MOST_REPEATS)
                separator = "" if token == "xxrep" else " "
            continue
        if _is_special(token):
            continue
        word = token
        if capital == "xxup":
            word = word.upper()
        elif capital == "xxmaj":
            word = word[:1].upper() + word[1:]
        if repeats > 1:
            word = separator.join([word] * repeats)
        yield word
        capital, repeats = None, 1
