"""Statistics of a classifier's answers."""

import dataclasses
import functools
import math

import numpy as np
from sklearn import metrics

# Two-sided 95 % of the normal distribution.
_Z = 1.959963984540054


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """A split's texts, their labels and what the classifier answered.

    Attributes:
        split: Name of the split, `"test"` or `"validation"`.
        texts: List of str.
        labels: Int array `(texts,)`.
        probabilities: Float array `(texts, classes)`.
    """

    split: str
    texts: list[str]
    labels: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of(cls, split, classifier, texts, labels) -> "Predictions":
        """Asks a classifier for its answers."""
        return cls(split, texts, labels, classifier.predict(texts))

    @functools.cached_property
    def answers(self) -> np.ndarray:
        """Int array `(texts,)`, the most probable class of each text."""
        return self.probabilities.argmax(axis=1)

    @functools.cached_property
    def confidences(self) -> np.ndarray:
        """Float array `(texts,)`, the probability of the answer."""
        return self.probabilities.max(axis=1)

    @functools.cached_property
    def hits(self) -> np.ndarray:
        """Bool array `(texts,)`, whether the answer is the label."""
        return self.answers == np.asarray(self.labels)

    @property
    def error(self) -> float:
        """Share of wrong answers, in per cent."""
        return round(100 * float(np.mean(~self.hits)), 4)


@dataclasses.dataclass(frozen=True)
class Share:
    """How many of a number of texts, with its 95 % Wilson interval.

    Attributes:
        count: Int, texts that are counted.
        total: Int, at least 1, all texts.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share itself, between 0 and 1."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (1927), as `(low, high)`.

        Unlike the normal approximation it stays within 0 and 1 and is not
        empty when all or none of the texts are counted.
        """
        squared = _Z**2 / self.total
        centre = (self.value + squared / 2) / (1 + squared)
        variance = self.value * (1 - self.value) + squared / 4
        half = _Z * math.sqrt(variance / self.total) / (1 + squared)
        return max(0.0, centre - half), min(1.0, centre + half)


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Returns int `(classes, classes)`: rows are labels, columns answers."""
    classes = np.arange(predictions.probabilities.shape[1])
    return metrics.confusion_matrix(
        predictions.labels, predictions.answers, labels=classes
    )


def frequent_confusions(
    matrix: np.ndarray, limit: int
) -> list[tuple[int, int, int]]:
    """Returns the most frequent mistakes as `(label, answer, texts)`."""
    wrong = [
        (int(label), int(answer), int(matrix[label, answer]))
        for label, answer in np.argwhere(matrix)
        if label != answer
    ]
    return sorted(wrong, key=lambda row: -row[2])[:limit]


@dataclasses.dataclass(frozen=True, eq=False)
class ClassScores:
    """Precision, recall and F1 of each class; NaN where undefined.

    Attributes:
        precision: Float array `(classes,)`; undefined for a class that was
            never answered.
        recall: Float array `(classes,)`; undefined without texts.
        f1: Float array `(classes,)`; undefined where both are.
        texts: Int array `(classes,)`, texts with that label.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    texts: np.ndarray

    @classmethod
    def of(cls, predictions: Predictions) -> "ClassScores":
        """Computes the scores of a split."""
        return cls(
            *metrics.precision_recall_fscore_support(
                predictions.labels,
                predictions.answers,
                labels=np.arange(predictions.probabilities.shape[1]),
                zero_division=np.nan,
            )
        )

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have one."""
        return float(np.mean(self.f1[~np.isnan(self.f1)]))


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """How far confidence and accuracy agree (Guo et al., 2017, section 2).

    Attributes:
        edges: Float array `(bins + 1,)`; a bin holds the confidences above
            its lower and up to its upper edge.
        texts: Int array `(bins,)`.
        hits: Int array `(bins,)`, texts that were answered rightly.
        confidence: Float array `(bins,)`, mean confidence; NaN in an empty
            bin.
    """

    edges: np.ndarray
    texts: np.ndarray
    hits: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, predictions: Predictions, num_bins: int = 15) -> "Calibration":
        """Sorts a split's answers into bins; 15 as Guo et al. do."""
        edges = np.linspace(0, 1, num_bins + 1)
        bins = np.searchsorted(edges[1:-1], predictions.confidences)
        texts = np.bincount(bins, minlength=num_bins)
        sums = np.bincount(
            bins, weights=predictions.confidences, minlength=num_bins
        )
        with np.errstate(invalid="ignore"):
            confidence = sums / texts
        return cls(
            edges,
            texts,
            np.bincount(bins[predictions.hits], minlength=num_bins),
            confidence,
        )

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the bins' mean gap, weighted."""
        filled = self.texts > 0
        gap = np.abs(
            self.hits[filled] / self.texts[filled] - self.confidence[filled]
        )
        return float(np.average(gap, weights=self.texts[filled]))
