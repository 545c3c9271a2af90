"""Which words a classifier's answers rest on, by leaving each one out."""

import dataclasses
import re

import numpy as np

# Scripts without blanks: each character is a word, as the tokenizer has it.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
# What is shown of a text and of a word.
_WORDS = 60
_LETTERS = 40
# A part of a long text that is left out at once, at least.
_PART_WORDS = 5
# Parts that the strongest is split into while its words are too many to try.
_PIECES = 4
# Characters read for one text, each word left out in turn.
_CHARACTERS = 50_000
# Words and parts that a long text is read without, at least. Texts that are
# longer than some characters are not read again: that would take minutes.
_READINGS = 32
_LONGEST = 20_000
# A probability that is nearer to 0 or 1 than float32 tells apart.
_SURE = 1e-6
# Log-odds: a weaker word does not have the full colour, even if no other of its
# text is stronger. It changes the odds by half.
_WEAK = 0.4


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        text: Str, the word, cut where it is very long.
        spaced: Whether white space comes before it.
        influence: By how much the answer's log-odds fall without the word,
            the weight of evidence (Robnik-Šikonja & Kononenko, 2008, section
            3.1); `None` if that was not computed. A difference of
            probabilities would be 0 wherever the answer is sure.
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

    @property
    def full(self) -> float:
        """The influence that is shaded in full."""
        return max(self.largest, _WEAK)


def shade(classifier, texts, answers, probabilities) -> list[ShadedText]:
    """Occludes words of each text, one at a time.

    The whole text is read without the word, so a text costs as many readings
    as it has words. Of a long one, parts are left out first, the one that
    mattered most in ever smaller parts, and then words of the parts that
    mattered most, in as many readings as its length allows. The longest texts
    are not read again.

    Args:
        classifier: Object whose `predict` maps texts to probabilities
            `(texts, classes)`.
        texts: List of str.
        answers: Int of each text, the class whose probability is watched.
        probabilities: Float of each text, that class' probability.
    """
    found = [list(_WORD.finditer(text)) for text in texts]
    readings = [_readings(len(text)) for text in texts]

    def influences(spans):
        """What each text loses without each of its spans of words."""
        variants = [
            text[: matches[first].start()] + text[matches[last].end() :]
            for text, matches, of_text in zip(texts, found, spans, strict=True)
            for first, last in of_text
        ]
        without = iter(classifier.predict(variants) if variants else ())
        return [
            [
                _log_odds(probability) - _log_odds(next(without)[answer])
                for _ in of_text
            ]
            for of_text, answer, probability in zip(
                spans, answers, probabilities, strict=True
            )
        ]

    parts = [
        _Parts(len(matches), allowed)
        for matches, allowed in zip(found, readings, strict=True)
    ]
    spans = [of_text.first() for of_text in parts]
    while any(spans):
        for of_text, new, losses in zip(
            parts, spans, influences(spans), strict=True
        ):
            of_text.take(new, losses)
        spans = [of_text.split() for of_text in parts]
    shown = [of_text.words for of_text in parts]
    occluded = [of_text.words[: of_text.readings] for of_text in parts]
    known = influences([[(word, word) for word in each] for each in occluded])
    return [
        _shaded(
            text, matches, sorted(words), dict(zip(tried, losses, strict=True))
        )
        for text, matches, words, tried, losses in zip(
            texts, found, shown, occluded, known, strict=True
        )
    ]


def _log_odds(probability):
    share = np.clip(float(probability), _SURE, 1 - _SURE)
    return float(np.log(share) - np.log1p(-share))


def _readings(length):
    """How many times a text of a number of characters is read again."""
    if length > _LONGEST:
        return 0
    return max(_READINGS, _CHARACTERS // max(1, length))


class _Parts:
    """Parts of a long text and what they matter; none of another text.

    Args:
        num_words: Int, words of the text.
        readings: Int, how many times it may be read again; what is left of
            them is an attribute.
    """

    def __init__(self, num_words, readings):
        self.num_words = num_words
        self.readings = readings
        self._losses = {}

    def first(self):
        """Returns spans to measure, `(first, last)` words, or none."""
        if self.num_words <= _WORDS or not self.readings:
            return []
        return _pieces(0, self.num_words - 1, self.readings // 2)

    def take(self, spans, losses):
        """Takes down what was lost without each of some spans."""
        self._losses |= dict(zip(spans, losses, strict=True))
        self.readings -= len(spans)

    def split(self):
        """Returns spans of the strongest part if it is too long, or none."""
        if not self._losses:
            return []
        first, last = strongest = self._order()[0]
        too_long = last + 1 - first > max(self.readings, _PART_WORDS)
        # Of what is left some is for single words.
        if not too_long or self.readings < 2 * _PIECES:
            return []
        del self._losses[strongest]
        return _pieces(first, last, _PIECES)

    @property
    def words(self):
        """The words to show, those of the strongest parts first."""
        spans = self._order() or [(0, self.num_words - 1)]
        words = [
            word for first, last in spans for word in range(first, last + 1)
        ]
        return words[:_WORDS]

    def _order(self):
        return sorted(self._losses, key=lambda span: -abs(self._losses[span]))


def _pieces(first, last, most):
    """Returns spans of equal length, at most some number of them."""
    size = max(_PART_WORDS, -(-(last + 1 - first) // most))
    return [
        (start, min(start + size - 1, last))
        for start in range(first, last + 1, size)
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
