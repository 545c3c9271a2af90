"""What a task type trains for: targets, loss, metrics, class weights."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from ulmfit_tf.data.task_type import TaskType

# As a classifier's training logs have it: probabilities are cut here until
# thresholds are chosen on the validation split.
_EVEN_ODDS = 0.5


@dataclasses.dataclass(frozen=True)
class Objective:
    """A task's training objective.

    Whatever the task, the best epoch is the one with the lowest validation
    loss: it is a proper score of the probabilities, whereas F1 depends on
    thresholds that are chosen when training is over.

    Attributes:
        targets: Callable from a split's labels to float32 `(documents,
            classes)`.
        loss: `keras.losses.Loss` of targets and logits.
        metrics: Callable that makes a list of `keras.metrics.Metric`s of
            targets and logits, in the scope of a distribution strategy.
        document_weights: Callable from a split's labels to float32
            `(documents,)`, by the training split's frequencies, or `None`.
    """

    targets: Callable[[np.ndarray], np.ndarray]
    loss: keras.losses.Loss
    metrics: Callable[[], list]
    document_weights: Callable[[np.ndarray], np.ndarray | None] = (
        lambda labels: None
    )


def objective(task_type, labels, num_classes, recipe):
    """Returns the objective of a task.

    `label_smoothing` of `s` mixes the targets with a guess that knows
    nothing: a target of 1 becomes `1 - s + s / classes` where classes
    exclude each other, and `1 - s / 2` where each is a yes or no of its own.

    `class_weights="balanced"` lets all classes weigh the same: documents of
    a class by the inverse of its frequency, or, where a text has any number
    of labels, each class' positive targets by its negatives over its
    positives.

    Args:
        task_type: `TaskType`.
        labels: Labels of the training split, see `TextDataset`.
        num_classes: Int.
        recipe: `Recipe`.
    """
    balanced = recipe.class_weights == "balanced"
    if task_type is TaskType.MULTI_LABEL:
        return Objective(
            targets=lambda flags: flags.astype("float32"),
            loss=PositiveWeightedCrossentropy(
                positive_weights(labels) if balanced else None,
                label_smoothing=recipe.label_smoothing,
            ),
            metrics=lambda: [F1OfLogits("micro"), F1OfLogits("macro")],
        )
    weights = class_weights(labels, num_classes) if balanced else None
    return Objective(
        targets=lambda indices: np.eye(num_classes, dtype="float32")[indices],
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
        metrics=lambda: [keras.metrics.CategoricalAccuracy(name="accuracy")],
        document_weights=lambda indices: (
            None if weights is None else weights[indices]
        ),
    )


def class_weights(labels, num_classes):
    """Returns the weight of a document of each class, float32 `(classes,)`.

    The documents' mean weight is 1, and all classes have the same sum.
    """
    counts = np.bincount(labels, minlength=num_classes)
    weights = len(labels) / (num_classes * np.maximum(counts, 1))
    return weights.astype("float32")


def positive_weights(labels):
    """Returns each class' negatives over its positives, `(classes,)`."""
    positives = labels.sum(axis=0)
    negatives = len(labels) - positives
    return (negatives / np.maximum(positives, 1)).astype("float32")


class PositiveWeightedCrossentropy(keras.losses.Loss):
    """Binary cross-entropy in which texts with a label have its weight.

    The mean over classes of `-v (t log p + (1 - t) log(1 - p))`, with `p` the
    sigmoid of a logit, and `v` the class' weight where the text has the
    label, else 1.

    Args:
        weights: Optional float array `(classes,)`; by default 1.
        label_smoothing: Float in `[0, 1)`; a target `t` becomes
            `t (1 - s) + s / 2`. It does not change who has which weight.

    Call arguments:
        y_true: Float tensor `(batch, classes)`, 0 or 1.
        y_pred: Float tensor `(batch, classes)`, logits.
    """

    def __init__(self, weights=None, label_smoothing=0.0, **kwargs):
        super().__init__(name="binary_crossentropy", **kwargs)
        self.weights = None if weights is None else np.float32(weights)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        flags = ops.cast(y_true, "float32")
        targets = flags * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = targets * ops.softplus(-y_pred)
        losses += (1 - targets) * ops.softplus(y_pred)
        if self.weights is not None:
            losses *= 1 + flags * (self.weights - 1)
        return ops.mean(losses, axis=-1)


class F1OfLogits(keras.metrics.F1Score):
    """`keras.metrics.F1Score` of logits, at even odds.

    Args:
        average: `"micro"` or `"macro"`.
    """

    def __init__(self, average):
        super().__init__(average, _EVEN_ODDS, name=f"{average}_f1")

    def update_state(self, y_true, y_pred, sample_weight=None):
        probabilities = ops.sigmoid(ops.cast(y_pred, "float32"))
        super().update_state(y_true, probabilities, sample_weight)
