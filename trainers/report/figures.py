"""Statistics of a classifier's answers."""

import dataclasses
import math

import numpy as np
from sklearn import metrics

from trainers.report.predictions import Predictions

# Two-sided 95 % of the normal distribution.
_Z = 1.959963984540054


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
    """Returns int `(classes, classes)`: rows are labels, columns answers.

    Texts with a label are on its diagonal where it was answered, and
    otherwise in the column of each class that was answered wrongly. Where a
    text has any number of labels it may be in several cells, or in none.
    """
    labels, answers = predictions.label_flags, predictions.answer_flags
    wrong = _together(labels & ~answers, answers & ~labels)
    return wrong + np.diag(np.sum(labels & answers, axis=0))


def _together(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns how many texts have a flag of one and a flag of the other.

    In floating point, which is many times as fast as a product of integers
    and exact here.
    """
    counts = one.T.astype("float64") @ other.astype("float64")
    return counts.astype("int64")


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


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """A class' two-by-two table: labelled or not, answered or not.

    Attributes:
        right: Int, texts with the label that got it.
        missed: Int, texts with the label that did not.
        wrong: Int, texts without the label that got it.
        absent: Int, texts without the label that did not.
    """

    right: int
    missed: int
    wrong: int
    absent: int


def label_counts(predictions: Predictions) -> list[LabelCounts]:
    """Returns the two-by-two table of each class."""
    tables = metrics.multilabel_confusion_matrix(
        predictions.label_flags, predictions.answer_flags
    )
    return [
        LabelCounts(int(right), int(missed), int(wrong), int(absent))
        for ((absent, wrong), (missed, right)) in tables
    ]


def frequent_pairs(
    predictions: Predictions, limit: int
) -> list[tuple[int, int, int, int]]:
    """Returns the classes that most often go together.

    Each is `(class, class, texts labelled with both, texts answered with
    both)`, by the larger of the two numbers.
    """
    labels, answers = predictions.label_flags, predictions.answer_flags
    labelled, answered = _together(labels, labels), _together(answers, answers)
    pairs = [
        (int(a), int(b), int(labelled[a, b]), int(answered[a, b]))
        for a, b in np.argwhere(np.triu(labelled + answered, k=1))
    ]
    return sorted(pairs, key=lambda pair: -max(pair[2:]))[:limit]


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """How far confidence and accuracy agree (Guo et al., 2017, section 2).

    Attributes:
        edges: Float array `(bins + 1,)`; a bin holds the confidences above
            its lower and up to its upper edge.
        texts: Int array `(bins,)`, claims, one for each answered label.
        hits: Int array `(bins,)`, claims that are right.
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
        confidences, hits = predictions.claims
        edges = np.linspace(0, 1, num_bins + 1)
        bins = np.searchsorted(edges[1:-1], confidences)
        texts = np.bincount(bins, minlength=num_bins)
        sums = np.bincount(bins, weights=confidences, minlength=num_bins)
        with np.errstate(invalid="ignore"):
            confidence = sums / texts
        return cls(
            edges,
            texts,
            np.bincount(bins[hits], minlength=num_bins),
            confidence,
        )

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the bins' mean gap, weighted.

        NaN if nothing was answered.
        """
        filled = self.texts > 0
        if not filled.any():
            return math.nan
        gap = np.abs(
            self.hits[filled] / self.texts[filled] - self.confidence[filled]
        )
        return float(np.average(gap, weights=self.texts[filled]))
