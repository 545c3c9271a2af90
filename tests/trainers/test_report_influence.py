import numpy as np
import pytest

from trainers.report import influence


class _Scored:
    """Probability of class 1 is the sum of what its words weigh."""

    def __init__(self, **weights):
        self.weights = weights
        self.readings = []

    def predict(self, texts):
        self.readings += texts
        scores = [
            0.5 + sum(self.weights.get(word, 0) for word in text.split())
            for text in texts
        ]
        return np.stack([1 - np.array(scores), scores], axis=1)


def _shade(classifier, text, answer=1):
    probability = classifier.predict([text])[0, answer]
    classifier.readings.clear()
    (shaded,) = influence.shade(classifier, [text], [answer], [probability])
    return shaded


@pytest.mark.parametrize("answer, sign", [(1, 1), (0, -1)])
def test_influence_is_what_the_answer_loses_without_the_word(answer, sign):
    classifier = _Scored(good=0.25, bad=-0.125)
    shaded = _shade(classifier, "a good\tbad  film", answer)
    assert [word.text for word in shaded.words] == ["a", "good", "bad", "film"]
    assert [word.influence for word in shaded.words] == pytest.approx(
        [0, sign * 0.25, sign * -0.125, 0]
    )
    assert shaded.largest == pytest.approx(0.25)
    assert shaded.omitted == 0


def test_only_the_one_word_is_left_out():
    classifier = _Scored()
    _shade(classifier, "to be or to be")
    assert [" ".join(reading.split()) for reading in classifier.readings] == [
        "be or to be",
        "to or to be",
        "to be to be",
        "to be or be",
        "to be or to",
    ]


def test_texts_keep_their_own_words():
    classifier = _Scored(good=0.25)
    texts = ["", "good", "not good"]
    first, second, third = influence.shade(
        classifier, texts, [1, 1, 0], [0.5, 0.75, 0.25]
    )
    assert first.words == [] and first.largest == 0
    assert [word.influence for word in second.words] == [0.25]
    assert [word.influence for word in third.words] == [0, -0.25]


def test_nothing_is_read_for_no_words():
    assert influence.shade(None, [], [], []) == []
    (shaded,) = influence.shade(None, [" \n"], [0], [0.5])
    assert shaded.words == []


def test_long_texts_and_words_are_bounded():
    classifier = _Scored()
    shaded = _shade(classifier, " ".join(["word"] * 5000))
    # 25,000 characters: two words are left out, sixty shown.
    assert len(shaded.words) == 60 and shaded.omitted == 4940
    assert len(classifier.readings) == 2
    assert [word.influence is None for word in shaded.words[:3]] == [
        False,
        False,
        True,
    ]
    assert len(_shade(classifier, "x" * 100_000).words[0].text) == 40


def test_scripts_without_blanks_are_split_into_characters():
    shaded = _shade(_Scored(), "東京 is big。")
    assert [(word.text, word.spaced) for word in shaded.words] == [
        ("東", True),
        ("京", False),
        ("is", True),
        ("big。", True),
    ]


def test_a_long_text_shows_the_windows_that_matter():
    words = [f"w{number}" for number in range(200)]
    words[137], words[171] = "good", "bad"
    classifier = _Scored(good=0.3, bad=-0.15)
    text = " ".join(words)
    shaded = _shade(classifier, text)
    assert sum(map(len, classifier.readings)) <= 50_000
    by_text = {word.text: word.influence for word in shaded.words}
    assert by_text["good"] == pytest.approx(0.3)
    assert by_text["bad"] == pytest.approx(-0.15)
    assert len(shaded.words) <= 60
    # What is not shown is counted, where it is not shown.
    position = -1
    for word in shaded.words:
        position += word.skipped + 1
        assert words[position] == word.text
    assert position + shaded.omitted == 199
    assert any(word.skipped for word in shaded.words)


def test_how_many_words_of_a_very_long_text_were_tried_is_known():
    """It is read too few times to try all that are shown."""
    text = " ".join(["averylongword" * 3] * 400)
    shaded = _shade(_Scored(), text)
    assert len(shaded.words) == 60 and shaded.tried == 50_000 // len(text)
    assert _shade(_Scored(), "a short one").tried == 3
