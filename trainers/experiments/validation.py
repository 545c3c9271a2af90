"""The error of an experiment's classifiers on the validation split."""

from trainers.report import Predictions
from trainers.report.scores import task_scores
from trainers.thresholds import decided, undecided
from ulmfit_tf.data.task_type import TaskType

# Of tables whose texts have any number of labels.
THRESHOLDS_NOTE = (
    "A text has any number of labels, so the error is what micro F1 lacks to "
    "100 %. The threshold of each class is chosen on the same validation "
    "texts, for all that is compared: these errors flatter all of it."
)


def validation_error(dataset, texts, labels, probabilities):
    """Returns the error of probabilities in per cent.

    Where texts have any number of labels it is 100 less their micro F1: sets
    of many labels are hardly ever all right, and so tell little of what is
    better. Thresholds are chosen on the same texts, as `trainers.classifier`
    does.

    Args:
        dataset: `TextDataset`, for its task type and classes.
        texts: List of str.
        labels: Labels of the texts, see `TextDataset`.
        probabilities: Float32 array `(texts, classes)`.
    """
    decision = decided(undecided(dataset), probabilities, labels)
    predictions = Predictions.judged(
        "validation", texts, labels, probabilities, decision
    )
    if dataset.task_type is not TaskType.MULTI_LABEL:
        return predictions.error
    micro_f1 = task_scores(predictions)["micro_f1"]
    # Without a label and without an answer nothing is wrong.
    return 0.0 if micro_f1 is None else round(100 - micro_f1, 4)
