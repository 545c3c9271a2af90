"""Thresholds of a multi-label classifier, chosen on the validation split."""

import dataclasses

import numpy as np

from ulmfit_tf.data.task_type import TaskType
from ulmfit_tf.pretrained import Decision

# A class with fewer positive texts takes the threshold of all classes
# together: one of its own would fit those few texts only (Yang, 2001, A study
# of thresholding strategies for text categorization, section 3.3).
FEWEST_POSITIVES = 5
_EVEN_ODDS = 0.5


def undecided(dataset) -> Decision:
    """Returns a data set's rule before thresholds are chosen: even odds."""
    is_multi_label = dataset.task_type is TaskType.MULTI_LABEL
    return Decision(
        dataset.task_type,
        (_EVEN_ODDS,) * len(dataset.classes) if is_multi_label else None,
        dataset.label_separator,
    )


def decided(
    decision: Decision, probabilities: np.ndarray, labels: np.ndarray
) -> Decision:
    """Returns the rule with its thresholds chosen, if it has any.

    Args:
        decision: `Decision`.
        probabilities: As of `choose_thresholds`.
        labels: Labels of the same split, see `TextDataset`.
    """
    if decision.thresholds is None:
        return decision
    thresholds = choose_thresholds(probabilities, labels)
    return dataclasses.replace(decision, thresholds=thresholds)


def choose_thresholds(
    probabilities: np.ndarray, labels: np.ndarray
) -> tuple[float, ...]:
    """Returns the threshold of each class with the highest F1.

    A class is answered where its probability is at least its threshold.
    Thresholds lie half-way between two probabilities that occur. Classes
    with fewer than `FEWEST_POSITIVES` positive texts share the one that is
    best for all classes together, by micro F1.

    Args:
        probabilities: Float32 array `(texts, classes)` of a split that was
            not trained on.
        labels: Bool array `(texts, classes)`.
    """
    shared = best_threshold(probabilities.ravel(), labels.ravel())
    return tuple(
        shared if shares else best_threshold(of_class, truth)
        for of_class, truth, shares in zip(
            probabilities.T, labels.T, shares_threshold(labels), strict=True
        )
    )


def shares_threshold(labels: np.ndarray) -> list[bool]:
    """Returns which classes share a threshold, see `choose_thresholds`."""
    return [int(count) < FEWEST_POSITIVES for count in labels.sum(axis=0)]


def best_threshold(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Returns the threshold with the highest F1, nearest to 0.5 among equals.

    Args:
        probabilities: Float32 array `(answers,)`.
        truth: Bool array `(answers,)`; without a true one the threshold is
            0.5.
    """
    # A probability that is not a number tells no threshold from another.
    if not truth.any() or np.isnan(probabilities).any():
        return _EVEN_ODDS
    order = np.argsort(-probabilities, kind="stable")
    descending, hits = probabilities[order], np.cumsum(truth[order])
    # Cutting after a position answers yes up to it; equal ones go together.
    below = np.append(descending[1:], np.float32(0))
    cuts = np.flatnonzero(below < descending)
    if not len(cuts):
        return _EVEN_ODDS
    f1 = 2 * hits[cuts] / (cuts + 1 + truth.sum())
    middle = (descending[cuts] + below[cuts]) / 2
    # Between neighbouring numbers there is no middle.
    middle = np.where(middle > below[cuts], middle, descending[cuts])
    # A decision's thresholds lie below 1.
    middle = np.minimum(middle, np.nextafter(np.float32(1), np.float32(0)))
    best = np.flatnonzero(f1 == f1.max())
    nearest = best[np.argmin(np.abs(middle[best] - _EVEN_ODDS))]
    return float(middle[nearest])
