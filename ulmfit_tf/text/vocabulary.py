"""Immutable list of tokens whose positions are the model's token ids."""

import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from ulmfit_tf.whole_files import written_whole

# Order of fastai v2 (`text_spec_tok`); fastai v1 ends maj, up, rep, wrep.
SPECIAL_TOKENS = (
    "xxunk",
    "xxpad",
    "xxbos",
    "xxeos",
    "xxfld",
    "xxrep",
    "xxwrep",
    "xxup",
    "xxmaj",
)
UNKNOWN_ID = 0
PADDING_ID = 1
BEGIN_ID = 2


class Vocabulary:
    """The tokens a model knows; a token's position is its id.

    The special tokens come first, so their ids are the same in every
    vocabulary. The others follow in order of falling frequency when the
    vocabulary is built with `Vocabulary.build`. The sampled softmax draws words
    as if they fell so; a task's words, which follow those of a pretrained
    model, are drawn more rarely for it.

    Args:
        tokens: Sequence of strings, beginning with `SPECIAL_TOKENS`, without
            duplicates. A token is not empty and contains neither a line feed
            nor a carriage return: the file holds one token a line.

    Raises:
        ValueError: If `tokens` breaks one of these rules.

    Example:
        >>> vocabulary = Vocabulary([*SPECIAL_TOKENS, "the", "cat"])
        >>> vocabulary.index("the"), vocabulary.index("dog"), vocabulary[10]
        (9, 0, 'cat')
    """

    __slots__ = ("_indices", "_tokens")

    def __init__(self, tokens: Iterable[str]) -> None:
        if isinstance(tokens, str):
            raise ValueError(
                "`tokens` must be a sequence of strings, not one string. "
                f"Received: tokens={tokens[:40]!r}."
            )
        tokens = tuple(tokens)
        _check_tokens(tokens)
        self._tokens = tokens
        self._indices = {token: index for index, token in enumerate(tokens)}

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        max_size: int = 60_000,
        min_frequency: int = 3,
        multiple_of: int = 8,
    ) -> "Vocabulary":
        """Builds the vocabulary of the most frequent tokens.

        The defaults are fastai v2's. As there, the size is rounded up to a
        multiple of `multiple_of` with `xxfake0`, `xxfake1`, ..., because
        matrix products are fastest at such sizes.

        Args:
            counts: How often each token occurs.
            max_size: Largest size, special tokens included, before rounding.
            min_frequency: Tokens that occur less often are left out.
            multiple_of: The size is rounded up to a multiple of this.

        Returns:
            A `Vocabulary`: the special tokens, then the others by falling
            count, equal counts by the token's text.

        Raises:
            ValueError: If an argument is out of range.
        """
        if max_size < len(SPECIAL_TOKENS):
            raise ValueError(
                "`max_size` must leave room for the "
                f"{len(SPECIAL_TOKENS)} special tokens. "
                f"Received: max_size={max_size}."
            )
        if min_frequency < 1 or multiple_of < 1:
            raise ValueError(
                "`min_frequency` and `multiple_of` must be at least 1. "
                f"Received: min_frequency={min_frequency}, "
                f"multiple_of={multiple_of}."
            )
        specials = set(SPECIAL_TOKENS)
        ranked = sorted(
            (-count, token)
            for token, count in counts.items()
            if count >= min_frequency and token not in specials
        )
        room = max_size - len(SPECIAL_TOKENS)
        tokens = [*SPECIAL_TOKENS, *(token for _, token in ranked[:room])]
        taken = set(tokens)
        number = 0
        while len(tokens) % multiple_of:
            filler = f"xxfake{number}"
            if filler not in taken:
                tokens.append(filler)
            number += 1
        return cls(tokens)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Vocabulary":
        """Reads a vocabulary that `save` wrote.

        Args:
            path: A UTF-8 text file with one token a line.

        Returns:
            A `Vocabulary`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is not a whole, valid vocabulary.
        """
        try:
            text = pathlib.Path(path).read_bytes().decode("utf-8")
            if not text.endswith("\n"):
                raise ValueError(
                    "The last line does not end with a line feed, so the "
                    "file was probably cut short."
                )
            # Not `splitlines`: tokens may contain other line separators.
            return cls(text[:-1].split("\n"))
        except ValueError as error:
            raise ValueError(
                f"`{os.fspath(path)}` is not a vocabulary file (UTF-8, one "
                "token a line, the special tokens first). "
                f"{error} Copy or build the file again."
            ) from error

    def save(self, path: str | os.PathLike) -> None:
        """Writes the tokens, one a line, to a UTF-8 text file.

        The file is written beside `path` and then renamed, so `path` never
        holds half a vocabulary.

        Args:
            path: Where to write; an existing file is replaced, a missing
                folder made.
        """
        with written_whole(path) as beside:
            beside.write_bytes(self.to_bytes())

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, in the order of their ids."""
        return self._tokens

    def index(self, token: str) -> int:
        """Returns the id of `token`, `UNKNOWN_ID` if it is not known."""
        return self._indices.get(token, UNKNOWN_ID)

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the tokens as 64 hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Returns the content of the file that `save` writes."""
        return "".join(f"{token}\n" for token in self._tokens).encode("utf-8")

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: int) -> str:
        return self._tokens[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._indices

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self._tokens == other._tokens

    def __hash__(self) -> int:
        return hash(self._tokens)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, {self.fingerprint()[:12]})"


def _check_tokens(tokens: tuple[str, ...]) -> None:
    if tokens[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
        raise ValueError(
            "A vocabulary must begin with the special tokens "
            f"{list(SPECIAL_TOKENS)}, in this order. "
            f"Received: {list(tokens[: len(SPECIAL_TOKENS)])}."
        )
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if not isinstance(token, str) or not token:
            raise ValueError(
                "Tokens must be non-empty strings. "
                f"Received: tokens[{index}]={token!r}."
            )
        if "\n" in token or "\r" in token:
            raise ValueError(
                "Tokens must not contain a line feed or carriage return, "
                "because a vocabulary file holds one token a line. "
                f"Received: tokens[{index}]={token!r}."
            )
        if token in seen:
            raise ValueError(
                "Tokens must not repeat: each has one id. "
                f"Received: {token!r} at {seen[token]} and {index}."
            )
        seen[token] = index
