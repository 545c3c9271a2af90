"""A text classification data set in memory."""

import dataclasses
import re

import numpy as np

from ulmfit_tf.data import splits
from ulmfit_tf.data.errors import DataError


@dataclasses.dataclass(frozen=True, eq=False)
class TextDataset:
    """Labelled texts for training and test, and texts without a label.

    One label per text, an index into `classes`. Several labels per text
    would be a float array `(texts, classes)` in place of `train_labels`;
    no reader produces one yet.

    Args:
        name: Name for run folders and reports.
        classes: Class names; a label is an index into them.
        train_texts: Texts to train on.
        train_labels: int32 `(len(train_texts),)`.
        test_texts: Texts for the one final figure of a run, or `None`.
        test_labels: int32 `(len(test_texts),)`, or `None`.
        unlabelled_texts: Texts for language-model fine-tuning only.
        notes: What a reader of the results must know, such as "the test
            split was held out of the training examples".

    Raises:
        DataError: If the parts contradict each other.

    Example:

    ```python
    dataset = load_dataset("trec6", data_dir="data").limit_labels(100, seed=0)
    train, validation_texts, validation_labels = dataset.split_validation(
        fraction=0.1, seed=0
    )
    ```
    """

    name: str
    classes: tuple[str, ...]
    train_texts: list[str]
    train_labels: np.ndarray
    test_texts: list[str] | None = None
    test_labels: np.ndarray | None = None
    unlabelled_texts: list[str] = dataclasses.field(default_factory=list)
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise DataError(
                f"Data set `{self.name}` needs at least two different "
                "classes to tell apart. "
                f"Received: classes={list(self.classes)}. "
                "Check that the label column is the right one."
            )
        if not self.train_texts:
            raise DataError(
                f"Data set `{self.name}` has no training examples. Expected "
                "at least one text with a label for each class."
            )
        self._check_part("train")
        if (self.test_texts is None) != (self.test_labels is None):
            raise DataError(
                f"Data set `{self.name}` has only one of `test_texts` and "
                "`test_labels`. Expected both, or `None` for both."
            )
        if self.test_texts is not None:
            self._check_part("test")
        _check_strings(self.name, "unlabelled", self.unlabelled_texts)

    @classmethod
    def from_labels(
        cls,
        name: str,
        train_texts: list[str],
        train_labels: list[str],
        test_texts: list[str] | None = None,
        test_labels: list[str] | None = None,
        unlabelled_texts: list[str] | None = None,
    ) -> "TextDataset":
        """Builds a data set whose classes are the training labels, sorted.

        Labels that are numbers sort as numbers.

        Raises:
            DataError: If there is only one class, or the test split has a
                class that the training split lacks.
        """
        classes = tuple(sorted(set(train_labels), key=_number_or_name))
        if len(classes) < 2:
            raise DataError(
                f"All labels of `{name}` are the same: {list(classes)}. "
                "Expected at least two classes to tell apart. Check that "
                "the label column is the right one."
            )
        index = {label: position for position, label in enumerate(classes)}
        unknown = sorted(set(test_labels or ()) - set(classes))
        if unknown:
            raise DataError(
                f"The test split of `{name}` has the classes {unknown}, "
                f"which its training split lacks. Expected: {list(classes)}. "
                "Add training examples of them, or remove them from the "
                "test split."
            )
        return cls(
            name=name,
            classes=classes,
            train_texts=train_texts,
            train_labels=np.array([index[each] for each in train_labels]),
            test_texts=test_texts,
            test_labels=None
            if test_labels is None
            else np.array([index[each] for each in test_labels], "int32"),
            unlabelled_texts=unlabelled_texts or [],
        )

    def _check_part(self, part):
        texts = getattr(self, f"{part}_texts")
        labels = np.asarray(getattr(self, f"{part}_labels"), "int32")
        object.__setattr__(self, f"{part}_labels", labels)
        if labels.shape != (len(texts),):
            raise DataError(
                f"Data set `{self.name}` needs one label per {part} text. "
                f"Received: {len(texts)} texts and labels of shape "
                f"{labels.shape}."
            )
        if labels.size and (
            labels.min() < 0 or labels.max() >= len(self.classes)
        ):
            raise DataError(
                f"Labels of data set `{self.name}` must lie between 0 and "
                f"{len(self.classes) - 1}, the indices of its classes. "
                f"Received: {part} labels from {labels.min()} to "
                f"{labels.max()}."
            )
        _check_strings(self.name, part, texts)

    def split_validation(self, fraction, seed):
        """See `ulmfit_tf.data.splits.split_validation`."""
        return splits.split_validation(self, fraction, seed)

    def limit_labels(self, num_labels, seed):
        """See `ulmfit_tf.data.splits.limit_labels`."""
        return splits.limit_labels(self, num_labels, seed)


def _check_strings(name, part, texts):
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"Every text of data set `{name}` must be a string. "
                f"Received: {part} text {index} of type "
                f"`{type(text).__name__}`: {text!r}."
            )


def _number_or_name(label):
    # "10" after "9" where labels are numbers; otherwise alphabetical.
    if re.fullmatch(r"-?\d+(\.\d+)?", label):
        return 0, float(label), label
    return 1, 0.0, label
