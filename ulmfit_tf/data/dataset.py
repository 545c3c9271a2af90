"""A text classification data set in memory."""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from ulmfit_tf.data import splits
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.task_type import LABEL_SEPARATOR, TaskType

_NO_LABEL = ("nan", "null", "n/a", "#n/a")
_WHOLE_NUMBER = re.compile(r"-?\d+(\.0+)?")


@dataclasses.dataclass(frozen=True, eq=False)
class TextDataset:
    """Labelled texts for training and test, and texts without a label.

    Either each text has one label, an index into `classes`; or it has any
    number of them, a row of a bool array with a column for each class.

    Args:
        name: Name for run folders and reports.
        classes: Class names; a label is an index into them.
        train_texts: Texts to train on.
        train_labels: int32 `(len(train_texts),)`, or, for any number of
            labels a text, bool `(len(train_texts), len(classes))`.
        test_texts: Texts for the one final figure of a run, or `None`.
        test_labels: As `train_labels`, or `None`.
        unlabelled_texts: Texts to fine-tune the language model on, and to
            give pseudo-labels to.
        notes: What a reader of the results must know, such as "the test
            split was held out of the training examples".
        label_separator: Stands between labels where one string must hold
            all that a text has; no class of such a data set contains it.

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
    label_separator: str = LABEL_SEPARATOR

    def __post_init__(self):
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise DataError(
                f"Data set `{self.name}` needs at least two different "
                "classes to tell apart. "
                f"Received: classes={list(self.classes)}. "
                "Check that the label column is the right one."
            )
        for name in self.classes:
            _check_encodable(self.name, name)
        if not self.train_texts:
            raise DataError(
                f"Data set `{self.name}` has no training examples. Expected "
                "at least one text with a label for each class."
            )
        self._check_part("train")
        if self.task_type is TaskType.MULTI_LABEL:
            self._check_separator()
        if (self.test_texts is None) != (self.test_labels is None):
            raise DataError(
                f"Data set `{self.name}` has only one of `test_texts` and "
                "`test_labels`. Expected both, or `None` for both."
            )
        if self.test_texts is not None:
            if not self.test_texts:
                raise DataError(
                    f"Data set `{self.name}` has an empty test split. "
                    "Expected texts, or `None` for no test split."
                )
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
        written = {*train_labels, *(test_labels or ())}
        merged = _whole_numbers(written)
        train_labels = [merged.get(each, each) for each in train_labels]
        test_labels = test_labels and [
            merged.get(each, each) for each in test_labels
        ]
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
                f"The test split of `{name}` has the classes "
                f"{_first(unknown)}, which its training split lacks. Expected: "
                f"{_first(classes)}. Add training examples of them, or remove "
                "them from the test split. If these are no classes, name the "
                "right column with `--label-column`."
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
            notes=(
                *_notes_of_merged(name, written, merged),
                *_notes_of_alike(name, classes),
                *_notes_of_none(classes),
            ),
        )

    @classmethod
    def from_label_sets(
        cls,
        name: str,
        train_texts: list[str],
        train_labels: Sequence[Sequence[str]],
        test_texts: list[str] | None = None,
        test_labels: Sequence[Sequence[str]] | None = None,
        unlabelled_texts: list[str] | None = None,
        classes: Sequence[str] | None = None,
        label_separator: str = LABEL_SEPARATOR,
    ) -> "TextDataset":
        """Builds a data set of texts that have any number of labels.

        Its classes are `classes`, or the training labels, sorted.

        Raises:
            DataError: If there are fewer than two classes, one has no
                training text, all are on every training text, or the test
                split has another.
        """
        found = {label for labels in train_labels for label in labels}
        notes = []
        if classes is None:
            written = found.union(
                *(test_labels if test_labels is not None else ())
            )
            merged = _whole_numbers(written)
            notes += _notes_of_merged(name, written, merged)
            train_labels = _renamed(train_labels, merged)
            if test_labels is not None:
                test_labels = _renamed(test_labels, merged)
            found = {label for labels in train_labels for label in labels}
            classes = sorted(found, key=_number_or_name)
        idle = [label for label in classes if label not in found]
        if idle:
            raise DataError(
                f"No training text of `{name}` has the labels {_first(idle)}. "
                "Expected at least one text of each to learn it from. Leave "
                "them out, or add texts that have them."
            )
        index = {label: position for position, label in enumerate(classes)}
        unknown = sorted(
            {label for labels in test_labels or () for label in labels}
            - set(classes)
        )
        if unknown:
            raise DataError(
                f"The test split of `{name}` has the labels {_first(unknown)}, "
                "which its training split lacks. Expected: "
                f"{_first(classes)}. Add training examples of them, or remove "
                "them from the test split."
            )

        def flags(labels_of_texts):
            array = np.zeros((len(labels_of_texts), len(classes)), bool)
            for row, labels in enumerate(labels_of_texts):
                array[row, [index[label] for label in labels]] = True
            return array

        blank = sum(not labels for labels in train_labels)
        if blank:
            notes.append(
                f"{blank} of the {len(train_labels)} training texts of "
                f"`{name}` have no label and count as examples of none. If "
                "nobody has labelled them, move them to the unlabelled texts."
            )
        if all(len(labels) < 2 for labels in train_labels):
            notes.append(
                f"No training text of `{name}` has more than one label. If "
                "that is wrong, check `--label-separator`; if it is right, "
                "training without `--multi-label` does better."
            )
        train_flags = flags(train_labels)
        is_everywhere = train_flags.all(axis=0)
        everywhere = [
            label
            for label, always in zip(classes, is_everywhere, strict=True)
            if always
        ]
        if everywhere:
            notes.append(
                f"Every training text of `{name}` has the labels "
                f"{_first(everywhere)}: none says what a text without them is "
                "like, and getting them right is no merit."
            )
        dataset = cls(
            name=name,
            classes=tuple(classes),
            train_texts=train_texts,
            train_labels=train_flags,
            test_texts=test_texts,
            test_labels=None if test_labels is None else flags(test_labels),
            unlabelled_texts=unlabelled_texts or [],
            notes=tuple(notes),
            label_separator=label_separator,
        )
        # Last, as it may follow from a mistake that is named above.
        if is_everywhere.all():
            raise DataError(
                f"Every training text of `{name}` has all labels: "
                f"{_first(list(classes))}. Expected texts that differ in their "
                "labels. If these are flags in a list, of which none says what "
                "it stands for, give the names of each text's labels, or one "
                "column of 0 and 1 for each label, named with "
                "`--label-column`."
            )
        return dataset

    @property
    def task_type(self) -> TaskType:
        """How many labels a text has, of how many classes."""
        if self.train_labels.ndim == 2:
            return TaskType.MULTI_LABEL
        if len(self.classes) == 2:
            return TaskType.BINARY
        return TaskType.MULTI_CLASS

    def _check_separator(self):
        clashing = [
            each for each in self.classes if self.label_separator in each
        ]
        if clashing:
            raise DataError(
                f"Classes of `{self.name}` contain the label separator "
                f"{self.label_separator!r}: {clashing[:5]}. An answer joins "
                "the labels of a text with it. Choose another one with "
                "`--label-separator`."
            )

    def _check_part(self, part):
        texts = getattr(self, f"{part}_texts")
        labels = np.asarray(getattr(self, f"{part}_labels"))
        if labels.dtype == bool:
            self._check_flags(part, texts, labels)
            _check_strings(self.name, part, texts)
            return
        labels = labels.astype("int32")
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

    def _check_flags(self, part, texts, flags):
        expected = (len(texts), len(self.classes))
        if flags.shape != expected:
            raise DataError(
                f"Data set `{self.name}` needs a flag for each {part} text "
                f"and class, shape {expected}. Received: flags of shape "
                f"{flags.shape}."
            )

    def split_validation(self, fraction, seed):
        """See `ulmfit_tf.data.splits.split_validation`."""
        return splits.split_validation(self, fraction, seed)

    def limit_labels(self, num_labels, seed):
        """See `ulmfit_tf.data.splits.limit_labels`."""
        return splits.limit_labels(self, num_labels, seed)


def _first(names):
    """Returns some names, and how many there are if that is not all."""
    shown = ", ".join(repr(f"{name:.60}") for name in names[:10])
    more = f", ... ({len(names)} in all)" if len(names) > 10 else ""
    return f"[{shown}{more}]"


def _check_strings(name, part, texts):
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"Every text of data set `{name}` must be a string. "
                f"Received: {part} text {index} of type "
                f"`{type(text).__name__}`: {text!r}."
            )


def _check_encodable(name, class_name):
    """JSON can hold half of a character, and so can names of folders."""
    try:
        class_name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"The class name {class_name!a} of `{name}` is not valid Unicode. "
            "Expected a name that can be written as UTF-8. Rename it."
        ) from error


def _whole_numbers(labels):
    """Returns the labels that are others written differently, 1.0 for 1.

    Where all are whole numbers and one has no point, none keeps it.
    """
    written = {
        label: label.split(".")[0]
        for label in labels
        if "." in label and _WHOLE_NUMBER.fullmatch(label)
    }
    if all(_WHOLE_NUMBER.fullmatch(label) for label in labels):
        return written if len(written) < len(labels) else {}
    return {old: new for old, new in written.items() if new in labels}


def _notes_of_merged(name, labels, merged):
    """Says which labels became one, as they are the same number."""
    named = _named_alike(sorted(labels), lambda label: merged.get(label, label))
    if not named:
        return ()
    return (
        f"Labels of `{name}` are the same number and were taken for one class: "
        f"{named}. If they are several, write them as words.",
    )


def _renamed(labels_of_texts, names):
    """Returns label sets with other names, each of them once."""
    return [
        tuple(dict.fromkeys(names.get(each, each) for each in labels))
        for labels in labels_of_texts
    ]


def _notes_of_alike(name, classes):
    """Says which classes look alike: capitals, blanks, ways of encoding."""

    def folded(label):
        return " ".join(unicodedata.normalize("NFKC", label).casefold().split())

    named = _named_alike(classes, folded)
    if not named:
        return ()
    return (
        f"Classes of `{name}` look alike: {named}. "
        "If they are one, write them alike.",
    )


def _named_alike(labels, key):
    """Names the labels that share a key with others, `""` if none do."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(key(label), []).append(label)
    several = [group for group in groups.values() if len(group) > 1]
    return "; ".join(" and ".join(map(repr, group)) for group in several[:5])


def _notes_of_none(classes):
    """Says which class is called as some tools write that there is none."""
    named = [each for each in classes if each.casefold() in _NO_LABEL]
    if not named:
        return ()
    return (
        f"{named} is taken for the name of a class. If it says that a text has "
        "no label, remove those rows, or move the texts to the unlabelled "
        "ones.",
    )


def _number_or_name(label):
    # "10" after "9" where labels are numbers; otherwise alphabetical.
    if re.fullmatch(r"-?\d+(\.\d+)?", label):
        return 0, float(label), label
    return 1, 0.0, label
