"""Which words a classifier's answers rest on, by leaving each one out."""

import dataclasses
import re

# Scripts without blanks: each character is a word, as the tokenizer has it.
_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
# What is shown of a text and of a word.
_WORDS = 60
_LETTERS = 40
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
    """

    text: str
    spaced: bool
    influence: float | None


@dataclasses.dataclass(frozen=True)
class ShadedText:
    """The beginning of a text with its words' influence.

    Attributes:
        words: List of `Word`s.
        omitted: Int, words after those.
    """

    words: list[Word]
    omitted: int

    @property
    def largest(self) -> float:
        """The largest influence, whichever way it goes; 0 without any."""
        return max((abs(word.influence or 0) for word in self.words), default=0)


def shade(classifier, texts, answers, probabilities) -> list[ShadedText]:
    """Occludes the first words of each text, one at a time.

    The whole text is read without the word, so a text costs as many
    readings as it has words. Long texts have fewer words left out.

    Args:
        classifier: Object whose `predict` maps texts to probabilities
            `(texts, classes)`.
        texts: List of str.
        answers: Int of each text, the class whose probability is watched.
        probabilities: Float of each text, that class' probability.
    """
    found = [list(_WORD.finditer(text)) for text in texts]
    shown = [matches[:_WORDS] for matches in found]
    occluded = [
        matches[: max(1, _CHARACTERS // max(1, len(text)))]
        for text, matches in zip(texts, shown, strict=True)
    ]
    variants = [
        text[: match.start()] + text[match.end() :]
        for text, matches in zip(texts, occluded, strict=True)
        for match in matches
    ]
    without = iter(classifier.predict(variants) if variants else ())
    shaded = []
    for index, text in enumerate(texts):
        influences: list[float | None] = [
            float(probabilities[index] - next(without)[answers[index]])
            for _ in occluded[index]
        ]
        influences += [None] * (len(shown[index]) - len(influences))
        words = [
            _word(text, match, influence)
            for match, influence in zip(shown[index], influences, strict=True)
        ]
        shaded.append(ShadedText(words, len(found[index]) - len(words)))
    return shaded


def _word(text, match, influence):
    word = match.group()
    if len(word) > _LETTERS:
        word = word[: _LETTERS - 1] + "…"
    before = text[: match.start()][-1:]
    return Word(word, not before or before.isspace(), influence)
