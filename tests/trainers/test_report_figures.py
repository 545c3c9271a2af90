import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from trainers.report import breakdown
from trainers.report.figures import (
    Calibration,
    ClassScores,
    Predictions,
    Share,
    confusion_matrix,
    frequent_confusions,
)
from ulmfit_tf.data.token_cache import TokenizedCorpus


def _predictions(num_texts=400, num_classes=5, seed=1):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(num_classes, 0.6), num_texts)
    # Right about half of the time.
    labels = np.where(
        rng.random(num_texts) < 0.4,
        probabilities.argmax(1),
        rng.integers(num_classes, size=num_texts),
    )
    return Predictions(
        "test",
        [f"text {index}" for index in range(num_texts)],
        labels.astype("int32"),
        probabilities.astype("float32"),
    )


@pytest.mark.parametrize(
    "count, total", [(0, 1), (0, 30), (30, 30), (3, 17), (141, 299), (1, 9999)]
)
def test_wilson_intervals_are_scipys(count, total):
    expected = stats.binomtest(count, total).proportion_ci(0.95, "wilson")
    assert Share(count, total).interval == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_wilson_bounds_are_where_the_score_test_just_rejects():
    share = Share(7, 40)
    for bound in share.interval:
        score = (share.value - bound) / math.sqrt(bound * (1 - bound) / 40)
        assert stats.norm.sf(abs(score)) == pytest.approx(0.025)


def test_the_error_counts_wrong_answers():
    predictions = _predictions()
    wrong = sum(
        row.tolist().index(max(row)) != label
        for row, label in zip(
            predictions.probabilities, predictions.labels, strict=True
        )
    )
    assert predictions.error == pytest.approx(100 * wrong / 400)
    assert 20 < predictions.error < 80


def test_class_scores_are_counted_from_the_definition():
    predictions = _predictions()
    scores = ClassScores.of(predictions)
    labels, answers = predictions.labels.tolist(), predictions.answers.tolist()
    for index in range(5):
        pairs = list(zip(labels, answers, strict=True))
        both = pairs.count((index, index))
        assert scores.precision[index] == both / answers.count(index)
        assert scores.recall[index] == both / labels.count(index)
        assert scores.f1[index] == pytest.approx(
            2 * both / (answers.count(index) + labels.count(index))
        )
        assert scores.texts[index] == labels.count(index)
    assert scores.macro_f1 == pytest.approx(
        metrics.f1_score(labels, answers, average="macro")
    )


def test_scores_without_a_text_or_an_answer_are_undefined():
    # Class 0 is never answered, class 1 never a label, class 2 neither.
    predictions = Predictions(
        "test",
        ["a", "b"],
        np.array([0, 3]),
        np.array([[0, 1, 0, 0], [0, 0, 0, 1]]),
    )
    scores = ClassScores.of(predictions)
    np.testing.assert_array_equal(scores.precision, [np.nan, 0, np.nan, 1])
    np.testing.assert_array_equal(scores.recall, [0, np.nan, np.nan, 1])
    np.testing.assert_array_equal(scores.f1, [0, 0, np.nan, 1])
    assert scores.macro_f1 == pytest.approx(1 / 3)


def test_confusions_are_labels_by_answers():
    probabilities = np.eye(3)[[0, 2, 2, 1, 2, 2]]
    predictions = Predictions(
        "test", list("abcdef"), np.array([0, 0, 0, 0, 1, 2]), probabilities
    )
    matrix = confusion_matrix(predictions)
    np.testing.assert_array_equal(matrix, [[1, 1, 2], [0, 0, 1], [0, 0, 1]])
    assert frequent_confusions(matrix, 2) == [(0, 2, 2), (0, 1, 1)]


@pytest.mark.parametrize("num_bins", [1, 4, 15])
def test_the_calibration_error_is_the_sum_of_its_definition(num_bins):
    predictions = _predictions()
    expected, texts = 0.0, []
    for index in range(num_bins):
        low, high = index / num_bins, (index + 1) / num_bins
        members = [
            i for i, p in enumerate(predictions.confidences) if low < p <= high
        ]
        texts.append(len(members))
        if members:
            accuracy = np.mean([predictions.hits[i] for i in members])
            confidence = np.mean([predictions.confidences[i] for i in members])
            expected += len(members) / 400 * abs(accuracy - confidence)
    calibration = Calibration.of(predictions, num_bins)
    assert calibration.texts.tolist() == texts
    assert calibration.expected_error == pytest.approx(expected, abs=1e-6)
    assert expected > 0.01


def test_answers_as_sure_as_they_are_right_are_calibrated():
    probabilities = np.array([[0.75, 0.25]] * 4 + [[0.0, 1.0]])
    predictions = Predictions(
        "test", list("abcde"), np.array([0, 0, 0, 1, 1]), probabilities
    )
    calibration = Calibration.of(predictions, 4)
    # A confidence on an edge belongs to the bin below it.
    assert calibration.texts.tolist() == [0, 0, 4, 1]
    assert calibration.expected_error == pytest.approx(0)


def _corpus(lengths, unknown):
    documents = [
        np.array([2] + [0] * missing + [9] * (length - missing))
        for length, missing in zip(lengths, unknown, strict=True)
    ]
    return TokenizedCorpus.from_documents(documents)


def _hits(hits):
    labels = np.where(hits, 0, 1)
    return Predictions(
        "test", ["a"] * len(hits), labels, np.tile([0.9, 0.1], (len(hits), 1))
    )


def test_groups_by_length_hold_each_text_once():
    lengths = [0, 1, 1, 2, 3, 4, 5, 6, 7, 80]
    predictions = _hits([1, 1, 1, 1, 0, 1, 0, 0, 0, 0])
    groups = breakdown.by_length(predictions, _corpus(lengths, [0] * 10))
    assert [
        (group.name, group.wrong.count, group.wrong.total) for group in groups
    ] == [
        ("0 to 1", 0, 3),
        ("2", 0, 1),
        ("3 to 4", 1, 2),
        ("5 to 6", 2, 2),
        ("7 to 80", 2, 2),
    ]


def test_texts_of_one_length_are_one_group():
    predictions = _hits([1, 0, 1])
    (group,) = breakdown.by_length(predictions, _corpus([4] * 3, [0] * 3))
    assert (group.name, group.wrong) == ("4", Share(1, 3))


def test_groups_by_unknown_words_hold_each_text_once():
    # Shares: none (twice, one text empty), 5 %, 7.5 %, 20 %, all.
    lengths, unknown = [0, 10, 20, 40, 5, 2], [0, 0, 1, 3, 1, 2]
    predictions = _hits([1, 1, 0, 1, 0, 0])
    groups = breakdown.by_unknown_words(predictions, _corpus(lengths, unknown))
    assert [(group.name, group.wrong) for group in groups] == [
        ("none", Share(0, 2)),
        ("up to 5 %", Share(1, 1)),
        ("5 to 10 %", Share(0, 1)),
        ("10 to 20 %", Share(1, 1)),
        ("over 20 %", Share(1, 1)),
    ]
