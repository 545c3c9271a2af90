"""The cards that a report begins with."""

import dataclasses

import numpy as np

from trainers.report.figures import Calibration, Share
from trainers.report.predictions import Predictions
from trainers.report.scores import intervals
from ulmfit_tf.data.task_type import TaskType


@dataclasses.dataclass(frozen=True)
class Card:
    """One figure.

    Attributes:
        title: Str.
        value: Float, a share; NaN if it is not defined.
        note: Str, what it is the share of.
        interval: Optional `(low, high)`, 95 %.
    """

    title: str
    value: float
    note: str
    interval: tuple[float, float] | None = None


# Figures of `scores.task_scores` by task, the most telling first: what it is
# called, and what it is.
_OTHERS = {
    TaskType.BINARY: {
        "f1": ("F1 of {positive}", "of precision and recall"),
        "precision": ("Precision of {positive}", "right among the answers"),
        "recall": ("Recall of {positive}", "found among the labels"),
        "auc": ("Area under ROC", "of all thresholds"),
    },
    TaskType.MULTI_CLASS: {"macro_f1": ("Macro F1", "mean over classes")},
    TaskType.MULTI_LABEL: {
        "micro_f1": ("Micro F1", "over all texts and labels"),
        "macro_f1": ("Macro F1", "mean over labels"),
    },
}


def headline(
    shown: Predictions,
    validation: Predictions,
    scores: dict,
    calibration: Calibration,
    classes: tuple[str, ...],
) -> list[Card]:
    """Returns the cards of a run.

    Args:
        shown: Predictions that the report is about.
        validation: Predictions of the validation split.
        scores: Dict by split of `scores.task_scores`.
        calibration: Of `shown`.
        classes: Class names.
    """
    errors = [_share("error", shown), _share("accuracy", shown)]
    if shown is not validation:
        errors.append(_share("error", validation))
    known = intervals(shown)
    task_type = shown.decision.task_type
    others = [
        Card(
            title.format(positive=classes[-1]),
            _fraction(scores[shown.split][name]),
            f"{note}, {shown.split} split",
            known.get(name),
        )
        for name, (title, note) in _OTHERS[task_type].items()
    ]
    calibrated = Card(
        "Calibration error",
        calibration.expected_error,
        f"expected, {shown.split} split"
        + (", of answered labels" if task_type is TaskType.MULTI_LABEL else ""),
    )
    if task_type is TaskType.MULTI_LABEL:
        # That all labels of a text are right is the strictest of figures.
        return [*others, *errors, calibrated]
    return [*errors, *others, calibrated]


def _share(figure, predictions):
    is_error = figure == "error"
    counted = ~predictions.hits if is_error else predictions.hits
    share = Share(int(np.sum(counted)), len(counted))
    return Card(
        f"{predictions.split} {figure}".capitalize(),
        share.value,
        f"{share.count} of {share.total} {predictions.split} texts "
        f"{'wrong' if is_error else 'right'}{_caveat(predictions)}",
        share.interval,
    )


def _caveat(predictions):
    """Why figures of the validation split are better than others."""
    fitted = predictions.decision.thresholds is not None
    if fitted and predictions.split == "validation":
        return "; the thresholds were chosen on them"
    return ""


def _fraction(per_cent):
    return np.nan if per_cent is None else per_cent / 100
