import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

from trainers.objective import (
    F1OfLogits,
    PositiveWeightedCrossentropy,
    objective,
    positive_weights,
)
from trainers.recipes import Recipe
from ulmfit_tf.data import TaskType


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40, 5)).astype("float32")
    flags = rng.random((40, 5)) < [0.1, 0.2, 0.3, 0.5, 0.9]
    return flags, logits


def _sigmoid(logits):
    return 1 / (1 + np.exp(-np.float64(logits)))


def test_the_loss_is_the_mean_log_loss_of_the_classes(batch):
    flags, logits = batch
    expected = [
        metrics.log_loss(flags[:, i], _sigmoid(logits[:, i]), labels=[0, 1])
        for i in range(5)
    ]
    loss = PositiveWeightedCrossentropy()(flags, logits)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)


def test_positive_targets_weigh_as_much_as_negative_ones(batch):
    flags, logits = batch
    weights = positive_weights(flags)
    positives = flags.sum(0)
    np.testing.assert_allclose(weights * positives, 40 - positives, rtol=1e-6)
    expected = [
        metrics.log_loss(
            flags[:, i],
            _sigmoid(logits[:, i]),
            sample_weight=np.where(flags[:, i], weights[i], 1),
            labels=[0, 1],
            normalize=False,
        )
        for i in range(5)
    ]
    loss = PositiveWeightedCrossentropy(weights)(flags, logits)
    assert float(loss) == pytest.approx(np.sum(expected) / 200, rel=1e-5)


def test_smoothing_leaves_the_weights_to_those_who_have_the_label(batch):
    flags, logits = batch
    weights = np.float32([9, 99, 3, 1, 0.1])
    targets = flags * 0.9 + 0.05
    chances = _sigmoid(logits)
    losses = -targets * np.log(chances) - (1 - targets) * np.log(1 - chances)
    expected = (losses * np.where(flags, weights, 1)).mean()
    loss = PositiveWeightedCrossentropy(weights, label_smoothing=0.1)
    assert float(loss(flags, logits)) == pytest.approx(expected, rel=1e-4)


def test_smoothing_moves_both_targets_to_the_middle(batch):
    flags, logits = batch
    smoothed = PositiveWeightedCrossentropy(label_smoothing=0.2)
    expected = tf.nn.sigmoid_cross_entropy_with_logits(
        np.where(flags, 0.9, 0.1).astype("float32"), logits
    )
    assert float(smoothed(flags, logits)) == pytest.approx(
        float(tf.reduce_mean(expected)), rel=1e-5
    )


def test_extreme_logits_have_a_finite_loss():
    logits = np.array([[1e4, -1e4]], "float32")
    loss = PositiveWeightedCrossentropy()
    assert float(loss(np.array([[1.0, 0.0]]), logits)) == 0
    assert float(loss(np.array([[0.0, 1.0]]), logits)) == pytest.approx(1e4)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_of_logits_is_scikit_learns(batch, average):
    flags, logits = batch
    metric = F1OfLogits(average)
    for part in np.split(np.arange(40), 4):
        metric.update_state(flags[part].astype("float32"), logits[part])
    expected = metrics.f1_score(flags, logits > 0, average=average)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_one_label_a_text_is_one_hot_and_weighted_by_document():
    labels = np.array([0, 0, 0, 1])
    goal = objective(
        TaskType.BINARY, labels, 2, Recipe(class_weights="balanced")
    )
    np.testing.assert_array_equal(goal.targets(labels)[:, 1], labels)
    np.testing.assert_allclose(goal.document_weights(labels), [2 / 3] * 3 + [2])
