import dataclasses
import math

import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics

from trainers.report.figures import (
    Calibration,
    ClassScores,
    confusion_matrix,
    frequent_pairs,
    label_counts,
)
from trainers.report.predictions import LabelSetPredictions, Predictions
from trainers.report.scores import class_scores, intervals, task_scores
from ulmfit_tf.data import TaskType
from ulmfit_tf.pretrained import Decision

_THRESHOLDS = (0.3, 0.5, 0.6, 0.4)


def _label_sets(num_texts=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random((num_texts, 4)) < [0.6, 0.4, 0.2, 0.1]
    probabilities = special.expit(rng.normal(3.0 * labels - 1.5, 1.5))
    return LabelSetPredictions(
        "test",
        [f"text {n}" for n in range(num_texts)],
        labels,
        probabilities.astype("float32"),
        Decision(TaskType.MULTI_LABEL, _THRESHOLDS),
    )


def _one_label(num_classes, num_texts=300):
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(num_classes), num_texts)
    labels = np.where(
        rng.random(num_texts) < 0.4,
        probabilities.argmax(1),
        rng.integers(num_classes, size=num_texts),
    )
    return Predictions("test", [""] * num_texts, labels, probabilities)


def test_label_sets_have_scikit_learns_figures():
    predictions = _label_sets()
    labels = predictions.labels
    answers = predictions.probabilities >= np.float32(_THRESHOLDS)
    accuracy = metrics.accuracy_score(labels, answers)
    assert 0.1 < accuracy < 0.9
    assert task_scores(predictions) == pytest.approx(
        {
            "error": 100 * (1 - accuracy),
            "accuracy": 100 * accuracy,
            "micro_f1": 100
            * metrics.f1_score(labels, answers, average="micro"),
            "macro_f1": 100
            * metrics.f1_score(labels, answers, average="macro"),
        },
        abs=1e-4,
    )
    assert predictions.error == task_scores(predictions)["error"]


def test_two_classes_have_the_figures_of_the_second():
    predictions = _one_label(2)
    labels, answers = predictions.labels, predictions.answers
    scores = task_scores(predictions)
    assert list(scores) == [
        *("error", "accuracy", "precision", "recall", "f1", "auc")
    ]
    for name, score in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        assert scores[name] == pytest.approx(100 * score(labels, answers), 1e-4)
    assert scores["auc"] == pytest.approx(
        100 * metrics.roc_auc_score(labels, predictions.probabilities[:, 1]),
        1e-4,
    )


def test_more_classes_have_a_macro_f1():
    predictions = _one_label(5)
    expected = metrics.f1_score(
        predictions.labels, predictions.answers, average="macro"
    )
    scores = task_scores(predictions)
    assert list(scores) == ["error", "accuracy", "macro_f1"]
    assert scores["macro_f1"] == pytest.approx(100 * expected, 1e-4)


def test_figures_that_are_not_defined_are_none():
    predictions = Predictions(
        "test", ["a"], np.array([0]), np.array([[0.9, 0.1]])
    )
    scores = task_scores(predictions)
    assert (scores["error"], scores["f1"], scores["auc"]) == (0, None, None)


def test_each_class_has_its_figures_and_threshold():
    predictions = _label_sets()
    answers = predictions.answers
    of_classes = class_scores(predictions, ("a", "b", "c", "d"))
    for index, (name, figures) in enumerate(of_classes.items()):
        labels = predictions.labels[:, index]
        assert name == "abcd"[index]
        assert figures == pytest.approx(
            {
                "texts": labels.sum(),
                "precision": 100
                * metrics.precision_score(labels, answers[:, index]),
                "recall": 100 * metrics.recall_score(labels, answers[:, index]),
                "f1": 100 * metrics.f1_score(labels, answers[:, index]),
                "threshold": _THRESHOLDS[index],
            },
            abs=1e-4,
        )


def _resampled(figure, num_texts=300):
    """The interval of a figure of indices drawn with replacement."""
    rng = np.random.default_rng(5)
    draws = [
        figure(rng.integers(num_texts, size=num_texts)) for _ in range(300)
    ]
    return tuple(np.percentile(draws, [2.5, 97.5]))


@pytest.mark.parametrize(
    "predictions, name, average",
    [
        pytest.param(_label_sets(), "micro_f1", "micro", id="micro"),
        pytest.param(_label_sets(), "macro_f1", "macro", id="macro"),
        pytest.param(_one_label(2), "f1", "binary", id="second_class"),
    ],
)
def test_intervals_are_as_wide_as_f1_varies(predictions, name, average):
    assert intervals(predictions)[name] == pytest.approx(
        _resampled(
            lambda index: metrics.f1_score(
                predictions.labels[index],
                predictions.answers[index],
                average=average,
            )
        ),
        abs=0.015,
    )


def test_a_split_without_a_mistake_has_no_interval_of_f1():
    perfect = Predictions(
        "test", [""] * 9, np.arange(9) % 3, np.eye(3)[[0, 1, 2] * 3]
    )
    assert not {"micro_f1", "macro_f1", "f1"} & set(intervals(perfect))


def test_a_rare_class_is_in_every_mean_of_the_interval():
    """Nine classes of 30 texts, and one of two that is never answered."""
    rng = np.random.default_rng(0)
    labels = np.array([*np.repeat(np.arange(9), 30), 9, 9])
    wrong = rng.random(len(labels)) < 0.1
    answers = np.where(wrong | (labels == 9), (labels + 1) % 9, labels)
    predictions = Predictions(
        "test", [""] * len(labels), labels, np.eye(10)[answers]
    )
    low, high = intervals(predictions)["macro_f1"]
    point = task_scores(predictions)["macro_f1"] / 100
    assert low < point < high
    # Nine of the ten, all but perfect, are 0.9 at most.
    assert high < 0.9 * (point / 0.8) and high - point < 0.06


def test_two_classes_have_intervals_of_all_their_figures():
    predictions = _one_label(2)
    known = intervals(predictions)
    labels, answers = predictions.labels == 1, predictions.answers == 1
    right = int(np.sum(labels & answers))
    for name, total in (("precision", answers.sum()), ("recall", labels.sum())):
        expected = stats.binomtest(right, int(total)).proportion_ci(
            method="wilson"
        )
        assert known[name] == pytest.approx(
            (expected.low, expected.high), abs=1e-3
        )
    assert known["auc"] == pytest.approx(
        _resampled(
            lambda index: metrics.roc_auc_score(
                predictions.labels[index], predictions.probabilities[index, 1]
            )
        ),
        abs=0.015,
    )


def test_what_is_shown_of_a_text_is_its_surest_mistake():
    predictions = LabelSetPredictions(
        "test",
        ["all right", "one missed", "one too many", "both"],
        np.array(
            [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]], bool
        ),
        np.array(
            [
                [0.9, 0.1, 0.3, 0.1],
                [0.9, 0.1, 0.3, 0.1],
                [0.1, 0.1, 0.1, 0.9],
                [0.4, 0.1, 0.3, 0.1],
            ],
            "float32",
        ),
        Decision(TaskType.MULTI_LABEL, _THRESHOLDS),
    )
    assert predictions.hits.tolist() == [True, False, False, False]
    # Of the right one the least sure class, the third: half of its threshold.
    assert predictions.watched.tolist() == [2, 1, 3, 1]
    np.testing.assert_allclose(
        predictions.confidences, [0.5, 0.8, 0.5 / 0.6, 0.8], rtol=1e-5
    )


def test_confusions_of_one_label_are_scikit_learns():
    predictions = _one_label(5)
    np.testing.assert_array_equal(
        confusion_matrix(predictions),
        metrics.confusion_matrix(predictions.labels, predictions.answers),
    )


def test_confusions_and_counts_of_label_sets_are_counted_text_by_text():
    predictions = _label_sets(60)
    expected = np.zeros((4, 4), int)
    both = np.zeros((2, 4, 4), int)
    for labels, answers in zip(
        predictions.labels, predictions.answers, strict=True
    ):
        for i in np.flatnonzero(labels):
            if answers[i]:
                expected[i, i] += 1
                continue
            for j in range(4):
                expected[i, j] += answers[j] and not labels[j]
        for kind, flags in enumerate((labels, answers)):
            for i in range(4):
                for j in range(i + 1, 4):
                    both[kind, i, j] += flags[i] and flags[j]
    np.testing.assert_array_equal(confusion_matrix(predictions), expected)
    for i, j, labelled, answered in frequent_pairs(predictions, 99):
        assert i < j and (labelled, answered) == tuple(both[:, i, j])
    recalls = ClassScores.of(predictions).recall
    for index, counts in enumerate(label_counts(predictions)):
        assert (
            counts.right + counts.missed == predictions.labels[:, index].sum()
        )
        assert (
            counts.right + counts.wrong == predictions.answers[:, index].sum()
        )
        assert counts.right / (counts.right + counts.missed) == recalls[index]
        assert counts.absent == 60 - counts.right - counts.missed - counts.wrong


def test_label_sets_are_calibrated_over_the_labels_that_were_answered():
    """Most others are rightly near 0, and hide how far off these are."""
    predictions = _label_sets()
    calibration = Calibration.of(predictions, 4)
    answers, labels = predictions.answers, predictions.labels
    assert calibration.texts.sum() == answers.sum() < 1200
    assert calibration.hits.sum() == (answers & labels).sum()
    confidence = predictions.probabilities[answers]
    low = confidence <= 0.5
    assert calibration.texts[:2].sum() == low.sum()
    assert calibration.hits[:2].sum() == labels[answers][low].sum()


def test_answers_without_any_label_have_no_calibration():
    predictions = _label_sets()
    nothing = dataclasses.replace(
        predictions, probabilities=np.zeros_like(predictions.probabilities)
    )
    assert math.isnan(Calibration.of(nothing).expected_error)
