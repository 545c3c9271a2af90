"""A split's texts, what is true of them, and what a classifier answered."""

import dataclasses
import functools

import numpy as np

from ulmfit_tf.data.task_type import TaskType
from ulmfit_tf.pretrained import Decision


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of a classifier that gives each text one label.

    Attributes:
        split: Name of the split, `"test"` or `"validation"`.
        texts: List of str.
        labels: Labels of the texts, see `TextDataset`.
        probabilities: Float array `(texts, classes)`.
        decision: How probabilities become answers; by default the likeliest
            class is answered.
    """

    split: str
    texts: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    decision: Decision = dataclasses.field(default=None)  # type: ignore

    def __post_init__(self):
        if self.decision is None:
            likeliest = Decision.likeliest(self.probabilities.shape[1])
            object.__setattr__(self, "decision", likeliest)

    @classmethod
    def judged(
        cls, split, texts, labels, probabilities, decision
    ) -> "Predictions":
        """Returns the answers that a decision makes of probabilities."""
        kind = (
            LabelSetPredictions
            if decision.task_type is TaskType.MULTI_LABEL
            else Predictions
        )
        return kind(split, texts, labels, probabilities, decision)

    @functools.cached_property
    def answers(self) -> np.ndarray:
        """The answers, as `labels` are."""
        return self.decision.answers(self.probabilities)

    @functools.cached_property
    def hits(self) -> np.ndarray:
        """Bool array `(texts,)`, whether the answer is right."""
        return self.answers == np.asarray(self.labels)

    @property
    def error(self) -> float:
        """Share of wrong answers, in per cent."""
        return round(100 * float(np.mean(~self.hits)), 4)

    @functools.cached_property
    def confidences(self) -> np.ndarray:
        """Float array `(texts,)`, how sure each answer is.

        Of a wrong answer, how sure what is wrong with it.
        """
        return self.probabilities.max(axis=1)

    @property
    def watched(self) -> np.ndarray:
        """Int array `(texts,)`, the class that `confidences` is about."""
        return self.answers

    @property
    def claims(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities that were claimed, and whether each came true."""
        return self.confidences, self.hits

    @property
    def label_flags(self) -> np.ndarray:
        """Bool array `(texts, classes)`, which classes are labels."""
        return np.eye(self.probabilities.shape[1], dtype=bool)[self.labels]

    @property
    def answer_flags(self) -> np.ndarray:
        """Bool array `(texts, classes)`, which classes are answers."""
        return np.eye(self.probabilities.shape[1], dtype=bool)[self.answers]


class LabelSetPredictions(Predictions):
    """Answers of a classifier that gives each text any number of labels.

    An answer is right if all of a text's labels are answered and no other.
    """

    @functools.cached_property
    def hits(self) -> np.ndarray:
        """Bool array `(texts,)`, whether the answer is right."""
        return np.all(self.answers == self.labels, axis=1)

    @functools.cached_property
    def confidences(self) -> np.ndarray:
        """Float array `(texts,)`, how sure each answer is.

        A class' answer is the surer the further its probability lies from
        the threshold, 1 at most. What counts of a right answer is the least
        sure class, of a wrong one the surest that is wrong.
        """
        return np.take_along_axis(
            self._sureness, self.watched[:, None], axis=1
        )[:, 0]

    @functools.cached_property
    def watched(self) -> np.ndarray:
        """Int array `(texts,)`, the class that `confidences` is about."""
        wrong = np.where(self.answers == self.labels, -1, self._sureness)
        return np.where(
            self.hits, self._sureness.argmin(axis=1), wrong.argmax(axis=1)
        )

    @functools.cached_property
    def _sureness(self):
        thresholds = np.array(self.decision.thresholds)
        beyond = self.probabilities - thresholds
        return np.where(
            self.answers, beyond / (1 - thresholds), -beyond / thresholds
        )

    @property
    def claims(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities that were claimed, and whether each came true.

        Of the labels that were answered: nearly all others are rightly near 0,
        and would hide how far these are off.
        """
        return self.probabilities[self.answers], self.labels[self.answers]

    @property
    def label_flags(self) -> np.ndarray:
        """Bool array `(texts, classes)`, which classes are labels."""
        return self.labels

    @property
    def answer_flags(self) -> np.ndarray:
        """Bool array `(texts, classes)`, which classes are answers."""
        return self.answers
