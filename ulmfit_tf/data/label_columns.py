"""How the columns of a table tell a text's label or labels."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ulmfit_tf.data.dataset import TextDataset
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.task_type import LABEL_SEPARATOR

_FLAGS = {"0": False, "1": True, "false": False, "true": True}
_FLAGS |= {"0.0": False, "1.0": True}


@dataclasses.dataclass(frozen=True)
class OneLabel:
    """One label a text, in one column.

    Attributes:
        column: Str.
    """

    column: str = "label"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return (self.column,)

    def parse(self, path: Path, line_number: int, record: dict) -> str | None:
        """Returns a record's label, or `None` if it has none.

        Raises:
            DataError: If it cannot be a label.
        """
        value = record.get(self.column)
        if isinstance(value, list):
            raise DataError(
                f"The label in line {line_number} of `{path}` is a list: "
                f"{value!r}. Expected one string or number per text. If a "
                "text may have several labels, pass `--multi-label`."
            )
        return _name(path, line_number, value) or None

    def dataset(self, *parts: Any, **others: Any) -> TextDataset:
        """Builds the data set of what `parse` returned."""
        return TextDataset.from_labels(*parts, **others)


@dataclasses.dataclass(frozen=True)
class LabelList:
    """Any number of labels a text, in one column.

    A JSON list, in a cell of a table too, or a string in which a separator
    stands between them. An empty list or string is a text without any label.

    Attributes:
        column: Str.
        separator: Str.
    """

    column: str = "label"
    separator: str = LABEL_SEPARATOR

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return (self.column,)

    def parse(
        self, path: Path, line_number: int, record: dict
    ) -> tuple[str, ...] | None:
        """Returns a record's labels, or `None` if there is no such field.

        Raises:
            DataError: If one of them cannot be a label.
        """
        value = record.get(self.column)
        if value is None or value != value:
            return None
        if isinstance(value, str):
            value = _listed(path, line_number, value, self.separator)
        elif not isinstance(value, list):
            value = [value]
        names = [_name(path, line_number, each) for each in value]
        different = {name.lower() for name in names}
        if different <= {*_FLAGS} and len(different) < len(names):
            raise DataError(
                f"The labels in line {line_number} of `{path}` are flags, of "
                f"which a list cannot say what they stand for: {value!r:.80}. "
                "Expected the names of the text's labels, or one column of 0 "
                "and 1 for each label, named with `--label-column`."
            )
        return tuple(dict.fromkeys(filter(None, names)))

    def dataset(self, *parts: Any, **others: Any) -> TextDataset:
        """Builds the data set of what `parse` returned."""
        others = {**others, "label_separator": self.separator}
        return TextDataset.from_label_sets(*parts, **others)


def _listed(path: Path, line_number: int, text: str, separator: str) -> list:
    """Returns the labels of a string."""
    stripped = text.strip()
    if not (stripped.startswith("[") and stripped.endswith("]")):
        return text.split(separator)
    try:
        return json.loads(stripped)
    # Of a number with too many digits, and of lists that lie too deep.
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The labels in line {line_number} of `{path}` look like a list "
            f"and are none in JSON: {text!r:.80} ({error}). Expected "
            f'`["one", "other"]` or `one{separator}other`.'
        ) from error


@dataclasses.dataclass(frozen=True)
class LabelFlags:
    """Any number of labels a text, one column of 0 and 1 a class.

    Attributes:
        columns: Names of the columns, which are the classes.
        separator: Str, for where one string must hold all labels.
    """

    columns: tuple[str, ...]
    separator: str = LABEL_SEPARATOR

    def parse(
        self, path: Path, line_number: int, record: dict
    ) -> tuple[str, ...] | None:
        """Returns a record's labels, or `None` if a field is missing.

        Raises:
            DataError: If a field is neither 0 nor 1.
        """
        labels = []
        for column in self.columns:
            value = record.get(column)
            if value is None or value == "":
                return None
            flag = _FLAGS.get(str(value).strip().lower())
            if flag is None:
                raise DataError(
                    f"Column `{column}` of `{path}` must say 0 or 1 in each "
                    "row: whether the text has that label. Received: "
                    f"{value!r} in line {line_number}. If one column holds "
                    "all labels of a text, name that one alone with "
                    "`--label-column`."
                )
            if flag:
                labels.append(column)
        return tuple(labels)

    def dataset(self, *parts: Any, **others: Any) -> TextDataset:
        """Builds the data set of what `parse` returned."""
        others = {
            **others,
            "classes": self.columns,
            "label_separator": self.separator,
        }
        return TextDataset.from_label_sets(*parts, **others)


LabelColumns = OneLabel | LabelList | LabelFlags


def label_columns(
    columns: str | Sequence[str] | None,
    multi_label: bool = False,
    separator: str = LABEL_SEPARATOR,
) -> LabelColumns:
    """Returns how a table's labels are to be read.

    Args:
        columns: Name of the column, or names of columns; with `multi_label`
            a name may hold several, with commas between. Default: `label`.
        multi_label: Whether a text has any number of labels.
        separator: What stands between the labels of one column.

    Raises:
        DataError: If there are several columns for one label, one twice, or
            no separator.
    """
    names = [columns] if isinstance(columns, str) else list(columns or ())
    names = names or ["label"]
    if not multi_label:
        if len(names) > 1:
            raise DataError(
                "One label a text needs one label column. Received: "
                f"{names}. If these are columns of 0 and 1, one for each "
                "label, pass `--multi-label`."
            )
        return OneLabel(names[0])
    if not separator:
        raise DataError(
            "`--label-separator` must not be empty: it stands between the "
            "labels of a text."
        )
    names = [part.strip() for name in names for part in name.split(",") if part]
    if len(names) == 1:
        return LabelList(names[0], separator)
    if len(set(names)) < len(names):
        raise DataError(
            "`--label-column` names a column twice. Received: "
            f"{names}. Each is one class; name it once."
        )
    return LabelFlags(tuple(names), separator)


def _name(path, line_number, value):
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, float) and value != value:
        # Not a number: how some tools write that there is none.
        return ""
    if isinstance(value, float):
        # That of -0.0 is 0.
        value += 0
    if isinstance(value, int | float):
        # One class for 1 and 1.0.
        return repr(value).removesuffix(".0")
    raise DataError(
        f"The label in line {line_number} of `{path}` is a "
        f"{type(value).__name__}: {value!r}. Expected a string or a number."
    )
