"""A random sample of a corpus that takes the same memory whatever its size."""

import heapq
import random
import re
from collections.abc import Iterable

# Pieces of text end at white space, or after so many characters.
_LONGEST = 1024
_PIECE = re.compile(
    rf"\S.{{0,{_LONGEST - 1}}}(?!\S)|\S.{{0,{_LONGEST - 1}}}", re.DOTALL
)
# Characters that a piece takes at least: Python's own share of its memory.
_SMALLEST = 100


def sample_pieces(
    texts: Iterable[str], max_characters: int, seed: int = 0
) -> list[str]:
    """Returns random pieces of texts, or all of a small corpus.

    Texts are cut into pieces of at most 1,024 characters, so that no long
    document fills the sample. Each piece gets a random number, and those with
    the highest ones stay, as many as fit: every piece has the same chance,
    and the texts are read once.

    Args:
        texts: The corpus; it is streamed.
        max_characters: Characters of the sample at most. A piece counts as
            100 of them at least.
        seed: Of the random numbers.

    Returns:
        List of str, in the order of the corpus.
    """
    rng = random.Random(seed)
    kept: list[tuple[float, int, str]] = []
    index = characters = 0
    # Of the pieces that had to go.
    highest = 0.0
    for text in texts:
        for match in _PIECE.finditer(text):
            index += 1
            number = rng.random()
            if number < highest:
                continue
            piece = match.group()
            heapq.heappush(kept, (number, index, piece))
            characters += max(len(piece), _SMALLEST)
            while characters > max_characters:
                highest, _, dropped = heapq.heappop(kept)
                characters -= max(len(dropped), _SMALLEST)
    return [piece for *_, piece in sorted(kept, key=lambda entry: entry[1])]
