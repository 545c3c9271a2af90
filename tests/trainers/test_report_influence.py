import math

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


def _log_odds(probability):
    return math.log(probability / (1 - probability))


@pytest.mark.parametrize("answer, sign", [(1, 1), (0, -1)])
def test_influence_is_the_log_odds_that_the_answer_loses(answer, sign):
    classifier = _Scored(good=0.25, bad=-0.125)
    shaded = _shade(classifier, "a good\tbad  film", answer)
    assert [word.text for word in shaded.words] == ["a", "good", "bad", "film"]
    whole = _log_odds(0.5 + 0.25 - 0.125)
    without_good, without_bad = _log_odds(0.5 - 0.125), _log_odds(0.5 + 0.25)
    assert [word.influence for word in shaded.words] == pytest.approx(
        [0, sign * (whole - without_good), sign * (whole - without_bad), 0]
    )
    assert shaded.largest == pytest.approx(whole - without_good)
    assert shaded.omitted == 0


def test_a_sure_answer_still_tells_its_words_apart():
    classifier = _Scored(good=0.4999, bad=0.0)
    shaded = _shade(classifier, "a good film", 1)
    assert shaded.words[1].influence > 5
    # 1 itself has no odds.
    assert math.isfinite(_shade(_Scored(good=0.5), "good").largest)


def test_words_that_hardly_matter_are_hardly_shaded():
    """Noise in full colour looked like reasons."""
    shaded = _shade(_Scored(good=0.001), "a good film")
    assert 0 < shaded.largest / shaded.full < 0.05
    strong = _shade(_Scored(good=0.4), "a good film")
    assert strong.full == strong.largest


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
    lost = pytest.approx(_log_odds(0.75), abs=1e-5)
    assert [word.influence for word in second.words] == [lost]
    assert third.words[0].influence == 0
    assert -third.words[1].influence == lost


def test_nothing_is_read_for_no_words():
    assert influence.shade(None, [], [], []) == []
    (shaded,) = influence.shade(None, [" \n"], [0], [0.5])
    assert shaded.words == []


def test_long_texts_and_words_are_bounded():
    classifier = _Scored(good=0.25)
    # 25,000 characters would take too long.
    shaded = _shade(classifier, " ".join(["word"] * 5000))
    assert len(shaded.words) == 60 and shaded.omitted == 4940
    assert classifier.readings == [] and shaded.tried == 0
    assert shaded.largest == 0
    assert len(_shade(classifier, "x" * 100_000).words[0].text) == 40


@pytest.mark.parametrize("num_words", [61, 300, 1000, 2400, 3300])
@pytest.mark.parametrize("place", [0.03, 0.5, 0.99])
def test_the_word_that_decides_is_found_in_a_long_text(num_words, place):
    """Of texts beyond 12,500 characters the beginning was shown."""
    words = [f"w{number}" for number in range(num_words)]
    words[int(place * num_words)] = "good"
    classifier = _Scored(good=0.3)
    shaded = _shade(classifier, " ".join(words))
    assert len(classifier.readings) <= max(32, 50_000 // len(" ".join(words)))
    assert len(shaded.words) <= 60
    (found,) = [word for word in shaded.words if word.text == "good"]
    assert found.influence == pytest.approx(_log_odds(0.8), abs=1e-5)


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
    whole = _log_odds(0.65)
    assert by_text["good"] == pytest.approx(whole - _log_odds(0.35))
    assert by_text["bad"] == pytest.approx(whole - _log_odds(0.8))
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
    classifier = _Scored()
    shaded = _shade(classifier, text)
    assert len(shaded.words) == 60 and 0 < shaded.tried < 32
    assert len(classifier.readings) <= 32
    assert _shade(_Scored(), "a short one").tried == 3
