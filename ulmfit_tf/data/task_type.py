"""What kind of question a data set asks of its texts."""

import enum

# Stands between the labels of a text where one string holds them all.
LABEL_SEPARATOR = "|"


class TaskType(enum.StrEnum):
    """How many labels a text has, of how many classes.

    A data set says which it is (`TextDataset.task_type`); the loss, the
    metrics, the answers and the report follow.
    """

    BINARY = "binary"
    """One label of two classes; the second class is the positive one."""

    MULTI_CLASS = "multi-class"
    """One label of three classes or more."""

    MULTI_LABEL = "multi-label"
    """Any number of labels a text, none included."""

    @property
    def activation(self) -> str:
        """What makes probabilities of logits, a Keras activation."""
        return "sigmoid" if self is TaskType.MULTI_LABEL else "softmax"
