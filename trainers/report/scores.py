"""The figures that fit a task: what a run prints and its report begins with."""

import dataclasses

import numpy as np
from sklearn import metrics

from trainers.report.figures import ClassScores, Share
from trainers.report.predictions import Predictions
from ulmfit_tf.data.task_type import TaskType

_RESAMPLES = 500


def task_scores(predictions: Predictions) -> dict:
    """Returns a split's figures in per cent, by name.

    - `error`: texts whose answer is not exactly right; where a text has any
      number of labels, those with one missed or one too many.
    - `accuracy`: the others.
    - binary: `precision`, `recall` and `f1` of the second class, and `auc`,
      the area under the ROC curve.
    - multi-class: `macro_f1`, the mean of the classes' F1.
    - multi-label: `micro_f1`, F1 of all pairs of a text and a class, and
      `macro_f1`.

    A figure that is not defined is `None`.
    """
    error = predictions.error
    counts = {"error": error, "accuracy": round(100 - error, 4)}
    others = _SCORES[predictions.decision.task_type](predictions)
    return {
        **counts,
        **{
            name: None if np.isnan(value) else round(100 * float(value), 4)
            for name, value in others.items()
        },
    }


def class_scores(predictions: Predictions, classes) -> dict:
    """Returns each class' figures in per cent, by the class' name."""
    scores = ClassScores.of(predictions)
    thresholds = predictions.decision.thresholds
    return {
        name: {
            "texts": int(scores.texts[index]),
            **{
                figure: None if np.isnan(value) else round(100 * value, 4)
                for figure, value in (
                    ("precision", float(scores.precision[index])),
                    ("recall", float(scores.recall[index])),
                    ("f1", float(scores.f1[index])),
                )
            },
            **({"threshold": thresholds[index]} if thresholds else {}),
        }
        for index, name in enumerate(classes)
    }


def _binary(predictions):
    scores = ClassScores.of(predictions)
    return {
        "precision": scores.precision[1],
        "recall": scores.recall[1],
        "f1": scores.f1[1],
        "auc": _auc(predictions),
    }


def _auc(predictions, weights=None):
    positive, labels = predictions.probabilities[:, 1], predictions.labels
    drawn = labels if weights is None else labels[weights > 0]
    if len(np.unique(drawn)) < 2 or np.isnan(positive).any():
        return np.nan
    return metrics.roc_auc_score(labels, positive, sample_weight=weights)


def _multi_class(predictions):
    return {"macro_f1": ClassScores.of(predictions).macro_f1}


def _multi_label(predictions):
    counts = _Counts.of(_flags(predictions), np.ones(len(predictions.texts)))
    return {
        "micro_f1": counts.micro_f1,
        "macro_f1": ClassScores.of(predictions).macro_f1,
    }


_SCORES = {
    TaskType.BINARY: _binary,
    TaskType.MULTI_CLASS: _multi_class,
    TaskType.MULTI_LABEL: _multi_label,
}


@dataclasses.dataclass(frozen=True, eq=False)
class _Counts:
    """How often each class was right, answered and a label, `(classes,)`."""

    right: np.ndarray
    answered: np.ndarray
    labelled: np.ndarray

    @classmethod
    def of(cls, flags, weights):
        """Counts what `_flags` returned, each text as often as it weighs."""
        return cls(*np.split(weights @ flags, 3))

    @property
    def f1(self):
        with np.errstate(invalid="ignore"):
            return 2 * self.right / (self.answered + self.labelled)

    @property
    def micro_f1(self):
        total = self.answered.sum() + self.labelled.sum()
        return 2 * self.right.sum() / total if total else np.nan


def _flags(predictions):
    """Hits, answers and labels side by side, `(texts, 3 * classes)`."""
    labels, answers = predictions.label_flags, predictions.answer_flags
    return np.hstack([labels & answers, answers, labels]).astype("float32")


def intervals(predictions: Predictions, seed: int = 0) -> dict:
    """Returns 95 % intervals of a split's figures as `(low, high)`, shares.

    Error, precision and recall are shares of texts and have Wilson's
    interval. F1 and the area under the ROC curve are not: theirs is the
    percentile bootstrap over texts.

    Args:
        predictions: `Predictions`.
        seed: Of the resampling.

    Returns:
        Dict: `error`, `micro_f1`, `macro_f1`, and of the last class `f1`,
        `precision` and `recall`; of two classes `auc`. A bootstrap that no
        resample changes is left out: a split without a mistake does not tell
        how rare they are.
    """
    rng = np.random.default_rng(seed)
    flags = _flags(predictions)
    num_texts = len(flags)
    whole = _Counts.of(flags, np.ones(num_texts, "float32")).f1
    defined = ~np.isnan(whole)
    found: dict[str, list] = {"micro_f1": [], "macro_f1": [], "f1": []}
    if predictions.decision.task_type is TaskType.BINARY:
        found["auc"] = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(num_texts, size=num_texts)
        weights = np.bincount(drawn, minlength=num_texts).astype("float32")
        counts = _Counts.of(flags, weights)
        found["micro_f1"].append(counts.micro_f1)
        # Means of the same classes: one that was not drawn says nothing new.
        f1 = np.where(np.isnan(counts.f1), whole, counts.f1)[defined]
        found["macro_f1"].append(f1.mean() if len(f1) else np.nan)
        found["f1"].append(counts.f1[-1])
        if "auc" in found:
            found["auc"].append(_auc(predictions, weights))
    bootstrapped = {
        name: tuple(np.nanpercentile(values, [2.5, 97.5]))
        for name, values in found.items()
        if not np.all(np.isnan(values))
    }
    wrong = int(np.sum(~predictions.hits))
    return {
        "error": Share(wrong, num_texts).interval,
        **_shares(flags),
        **{
            name: (low, high)
            for name, (low, high) in bootstrapped.items()
            if low < high
        },
    }


def _shares(flags):
    """Wilson's intervals of the last class' precision and recall."""
    counts = _Counts.of(flags, np.ones(len(flags), "float32"))
    right, answered, labelled = (
        int(each[-1])
        for each in (counts.right, counts.answered, counts.labelled)
    )
    totals = {"precision": answered, "recall": labelled}
    return {
        name: Share(right, total).interval
        for name, total in totals.items()
        if total
    }
