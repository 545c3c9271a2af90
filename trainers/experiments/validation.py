"""The error of an experiment's classifiers on the validation split."""

from trainers.report import Predictions
from trainers.thresholds import decided, undecided

# Of tables whose texts have any number of labels.
THRESHOLDS_NOTE = (
    "A text counts as right if all of its labels are answered and no other. "
    "The threshold of each class is chosen on the same validation texts, for "
    "all that is compared: these errors flatter all of it."
)


def validation_error(dataset, texts, labels, probabilities):
    """Returns the error of probabilities in per cent.

    Thresholds, where texts have any number of labels, are chosen on the same
    texts, as `trainers.classifier` does.

    Args:
        dataset: `TextDataset`, for its task type and classes.
        texts: List of str.
        labels: Labels of the texts, see `TextDataset`.
        probabilities: Float32 array `(texts, classes)`.
    """
    decision = decided(undecided(dataset), probabilities, labels)
    return Predictions.judged(
        "validation", texts, labels, probabilities, decision
    ).error
