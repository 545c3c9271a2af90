"""How a classifier's probabilities become labels."""

import dataclasses

import numpy as np
import tensorflow as tf

from ulmfit_tf.data.task_type import LABEL_SEPARATOR, TaskType


@dataclasses.dataclass(frozen=True)
class Decision:
    """The rule from class probabilities to a text's label or labels.

    One label: the likeliest class. Any number of labels: every class whose
    probability reaches its threshold.

    Attributes:
        task_type: `TaskType`.
        thresholds: Tuple of floats in `(0, 1)`, one a class, of a
            multi-label task; otherwise `None`.
        label_separator: Str that joins the labels of a text.

    Raises:
        ValueError: If thresholds and task type contradict each other.
    """

    task_type: TaskType
    thresholds: tuple | None = None
    label_separator: str = LABEL_SEPARATOR

    def __post_init__(self):
        is_multi_label = self.task_type is TaskType.MULTI_LABEL
        if is_multi_label != (self.thresholds is not None):
            raise ValueError(
                "A multi-label decision needs one threshold a class, and "
                "only it has thresholds. Received: "
                f"task_type={self.task_type}, thresholds={self.thresholds}."
            )

    @classmethod
    def likeliest(cls, num_classes):
        """Returns the rule of one label among `num_classes`."""
        return cls(
            TaskType.BINARY if num_classes == 2 else TaskType.MULTI_CLASS
        )

    def answers(self, probabilities):
        """Returns the answers as a data set has its labels.

        Args:
            probabilities: Float32 array `(texts, classes)`.

        Returns:
            Int array `(texts,)`, indices of classes, or bool array `(texts,
            classes)`.
        """
        if self.thresholds is None:
            return probabilities.argmax(axis=1)
        return probabilities >= np.array(self.thresholds, "float32")

    def label_strings(self, probabilities, classes):
        """Returns each text's label, or its labels in one string.

        Args:
            probabilities: Float32 tensor `(batch, classes)`.
            classes: Tuple of str.

        Returns:
            String tensor `(batch,)`; empty for a text without any label.
        """
        names = tf.constant(classes)
        if self.thresholds is None:
            return tf.gather(names, tf.argmax(probabilities, axis=1))
        answered = probabilities >= tf.constant(self.thresholds, tf.float32)
        places = tf.where(answered)
        labels = tf.RaggedTensor.from_value_rowids(
            tf.gather(names, places[:, 1]),
            places[:, 0],
            nrows=tf.shape(probabilities, tf.int64)[0],
            validate=False,
        )
        return tf.strings.reduce_join(
            labels, axis=-1, separator=self.label_separator
        )

    def as_dict(self):
        """Returns the rule as `from_dict` reads it, JSON-serializable."""
        thresholds = self.thresholds and list(self.thresholds)
        return {**dataclasses.asdict(self), "thresholds": thresholds}

    @classmethod
    def from_dict(cls, content):
        """Returns the rule that `as_dict` told."""
        thresholds = content["thresholds"]
        return cls(
            TaskType(content["task_type"]),
            None if thresholds is None else tuple(thresholds),
            content["label_separator"],
        )
