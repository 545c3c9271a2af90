"""Which words a classifier's answers rest on, by leaving each one out."""

import dataclasses
import re

# Scripts without blanks: each character is a word, as the tokenizer has it.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
# What is shown of a text and of a word.
_WORDS = 60
_LETTERS = 40
# A part of a long text that is left out at once, at least.
_PART_WORDS = 5
# Characters read for one text, each word left out in turn.
_CHARACTERS = 50_000


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        text: Str, the word, cut where it is very long.
        spaced: Whether white space comes before it.
        influence: By how much the answer's probability falls without the
            word, between -1 and 1; `None` if that was not computed.
        skipped: Int, words before it that are not shown.
    """

    text: str
    spaced: bool
    influence: float | None
    skipped: int = 0


@dataclasses.dataclass(frozen=True)
class ShadedText:
    """A text, or what matters most of it, with its words' influence.

    Attributes:
        words: List of `Word`s.
        omitted: Int, words after the last of those.
    """

    words: list[Word]
    omitted: int

    @property
    def tried(self) -> int:
        """Words that were left out in turn, fewer of a very long text."""
        return sum(word.influence is not None for word in self.words)

    @property
    def largest(self) -> float:
        """The largest influence, whichever way it goes; 0 without any."""
        return max((abs(word.influence or 0) for word in self.words), default=0)


def shade(classifier, texts, answers, probabilities) -> list[ShadedText]:
    """Occludes words of each text, one at a time.

    The whole text is read without the word, so a text costs as many readings
    as it has words. Of a long one, parts are left out first, and then words of
    the parts that mattered most, in as many readings as its length allows.

    Args:
        classifier: Object whose `predict` maps texts to probabilities
            `(texts, classes)`.
        texts: List of str.
        answers: Int of each text, the class whose probability is watched.
        probabilities: Float of each text, that class' probability.
    """
    found = [list(_WORD.finditer(text)) for text in texts]
    readings = [max(1, _CHARACTERS // max(1, len(text))) for text in texts]
    parts = [
        _parts(len(matches), allowed)
        for matches, allowed in zip(found, readings, strict=True)
    ]

    def influences(spans):
        """What each text loses without each of its spans of words."""
        variants = [
            text[: matches[first].start()] + text[matches[last].end() :]
            for text, matches, of_text in zip(texts, found, spans, strict=True)
            for first, last in of_text
        ]
        without = iter(classifier.predict(variants) if variants else ())
        return [
            [float(probability - next(without)[answer]) for _ in of_text]
            for of_text, answer, probability in zip(
                spans, answers, probabilities, strict=True
            )
        ]

    shown, occluded = [], []
    for matches, of_text, losses, allowed in zip(
        found, parts, influences(parts), readings, strict=True
    ):
        order = sorted(range(len(losses)), key=lambda i: -abs(losses[i]))
        words = [
            word
            for index in order
            for word in range(of_text[index][0], of_text[index][1] + 1)
        ] or list(range(len(matches)))
        shown.append(sorted(words[:_WORDS]))
        occluded.append(words[: min(_WORDS, allowed - len(of_text))])
    known = influences([[(word, word) for word in each] for each in occluded])
    return [
        _shaded(text, matches, words, dict(zip(tried, losses, strict=True)))
        for text, matches, words, tried, losses in zip(
            texts, found, shown, occluded, known, strict=True
        )
    ]


def _parts(num_words, readings):
    """First and last words of the parts of a long text; none of others."""
    count = readings // 2
    if num_words <= _WORDS or count < 2:
        return []
    size = max(_PART_WORDS, -(-num_words // count))
    return [
        (first, min(first + size, num_words) - 1)
        for first in range(0, num_words, size)
    ]


def _shaded(text, matches, shown, influences):
    words, before = [], -1
    for index in shown:
        word = _word(text, matches[index], influences.get(index))
        skipped = index - before - 1
        words.append(dataclasses.replace(word, skipped=skipped))
        before = index
    return ShadedText(words, len(matches) - before - 1)


def _word(text, match, influence):
    word = match.group()
    if len(word) > _LETTERS:
        word = word[: _LETTERS - 1] + "…"
    before = text[: match.start()][-1:]
    return Word(word, not before or before.isspace(), influence)
