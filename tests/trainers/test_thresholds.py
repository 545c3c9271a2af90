import numpy as np
import pytest
from sklearn import metrics

from trainers.thresholds import (
    FEWEST_POSITIVES,
    best_threshold,
    choose_thresholds,
    decided,
    undecided,
)
from ulmfit_tf.data import TaskType, TextDataset
from ulmfit_tf.pretrained import Decision


def _answers(num_texts=120, num_classes=6, seed=0):
    """Probabilities, some of them equal, that tell a little of the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.random((num_texts, num_classes)) < np.linspace(
        0.02, 0.5, num_classes
    )
    scores = rng.normal(size=labels.shape) + 1.5 * labels - 2
    return np.round(1 / (1 + np.exp(-scores)), 2).astype("float32"), labels


def _best_by_trying(probabilities, truth):
    """The highest F1 of any threshold, from scikit-learn."""
    precision, recall, _ = metrics.precision_recall_curve(truth, probabilities)
    return np.max(2 * precision * recall / np.maximum(precision + recall, 1e-9))


@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_has_a_higher_f1(seed):
    probabilities, labels = _answers(seed=seed)
    thresholds = np.float32(choose_thresholds(probabilities, labels))
    for index, threshold in enumerate(thresholds):
        if labels[:, index].sum() < FEWEST_POSITIVES:
            continue
        reached = metrics.f1_score(
            labels[:, index], probabilities[:, index] >= threshold
        )
        assert reached == pytest.approx(
            _best_by_trying(probabilities[:, index], labels[:, index])
        )


def test_rare_classes_share_the_threshold_of_all():
    probabilities, labels = _answers()
    labels[:, :2] = False
    labels[: FEWEST_POSITIVES - 1, 0] = True
    thresholds = choose_thresholds(probabilities, labels)
    assert thresholds[0] == thresholds[1] not in thresholds[2:]
    reached = metrics.f1_score(
        labels, probabilities >= np.float32(thresholds[0]), average="micro"
    )
    assert reached == pytest.approx(
        _best_by_trying(probabilities.ravel(), labels.ravel())
    )


@pytest.mark.parametrize(
    "probabilities, truth, expected",
    [
        pytest.param([0.9, 0.3, 0.1], [1, 1, 0], 0.2, id="half_way"),
        pytest.param([0.8, 0.2], [0, 0], 0.5, id="no_label"),
        pytest.param([0.4, 0.4], [1, 0], 0.2, id="all_equal"),
        pytest.param([0.0, 0.0], [1, 0], 0.5, id="all_zero"),
        pytest.param([1.0, 1.0], [1, 1], 0.5, id="all_one"),
        # F1 is 2/3 at 0.85 as well as at 0.1.
        pytest.param([0.9, 0.8, 0.7, 0.2], [1, 0, 0, 1], 0.85, id="nearest"),
        pytest.param([np.nan, 0.6], [1, 0], 0.5, id="not_a_number"),
    ],
)
def test_thresholds_by_hand(probabilities, truth, expected):
    found = best_threshold(np.float32(probabilities), np.array(truth, bool))
    assert found == pytest.approx(expected)
    assert 0 < found < 1


def test_neighbouring_numbers_are_told_apart():
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    threshold = best_threshold(
        np.array([low, high], "float32"), np.array([False, True])
    )
    assert low < np.float32(threshold) <= high


def test_certain_answers_have_a_threshold_below_one():
    # A report divides by what is left up to 1.
    probabilities = np.array([1, 1, 1, np.nextafter(np.float32(1), 0)])
    truth = np.array([True, True, True, False])
    threshold = best_threshold(np.float32(probabilities), truth)
    assert 0 < np.float32(threshold) < 1


def test_one_label_has_no_threshold():
    dataset = TextDataset("d", ("a", "b"), ["x", "y"], np.array([0, 1]))
    decision = undecided(dataset)
    assert decision == Decision(TaskType.BINARY)
    assert decided(decision, np.zeros((2, 2)), np.array([0, 1])) is decision
