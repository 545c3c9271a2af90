"""Data sets from a user's own tables and folders."""

import logging
from pathlib import Path

from ulmfit_tf.data.class_folders import (
    UNLABELLED_FOLDERS,
    read_class_folders,
)
from ulmfit_tf.data.dataset import TextDataset
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import data_suffix
from ulmfit_tf.data.label_columns import LabelColumns, OneLabel
from ulmfit_tf.data.tables import (
    TABLE_SUFFIXES,
    empty_file_error,
    find_table,
    read_records,
    require_columns,
    text_of,
)

logger = logging.getLogger(__name__)
_ONE_LABEL = OneLabel()


def read_path(
    path: Path,
    text_column: str = "text",
    label_columns: LabelColumns = _ONE_LABEL,
) -> TextDataset:
    """Reads a data set from a table, a folder of tables or class folders.

    Args:
        path: One of: a `.csv`, `.tsv` or `.jsonl` file (plain, `.gz` or
            `.xz`); a folder with such a file called `train` and perhaps
            `test` and `unlabelled`; a folder with one subfolder of `.txt`
            files per class; a folder with such folders called `train` and
            perhaps `test`, and unlabelled texts in `train/unsup`.
        text_column: Column that holds the text.
        label_columns: What holds a table's labels.

    Raises:
        DataError: If there is no usable data at `path`.
    """
    if path.is_dir():
        train_file = find_table(path, "train")
        if train_file:
            return _read_table_folder(
                path, train_file, text_column, label_columns
            )
        if not isinstance(label_columns, OneLabel):
            raise DataError(
                f"`--multi-label`: `{path}` holds no `train` table, and a "
                "folder with one subfolder per class says one label a text. "
                f"Expected: a table ({', '.join(TABLE_SUFFIXES)}), or a "
                "folder with one called `train`."
            )
        return read_class_folders(path)
    if data_suffix(path) not in TABLE_SUFFIXES:
        raise DataError(
            f"`{path}` has no format that a data set can be read from. "
            f"Expected: {', '.join(TABLE_SUFFIXES)} (also as .gz or .xz), a "
            "folder with `train.csv` or the like, or a folder with one "
            "subfolder of .txt files per class."
        )
    return label_columns.dataset(
        path.name, *read_table(path, text_column, label_columns)
    )


def read_table(
    path: Path,
    text_column: str = "text",
    label_columns: LabelColumns = _ONE_LABEL,
) -> tuple[list[str], list]:
    """Reads the texts and the labels of a table.

    Returns:
        The texts, and what `label_columns.parse` returns for each.

    Raises:
        DataError: If a column is missing, a row lacks its text or label,
            or a text is not a string.
    """
    texts: list[str] = []
    labels: list = []
    incomplete: list[int] = []
    for line_number, record in read_records(path):
        if not texts and not incomplete:
            require_columns(path, record, text_column, *label_columns.columns)
        text = text_of(path, line_number, record, text_column)
        label = label_columns.parse(path, line_number, record)
        if not text or label is None:
            incomplete.append(line_number)
            continue
        texts.append(text)
        labels.append(label)
    if incomplete:
        fields = ", ".join(label_columns.columns)
        raise DataError(
            f"{len(incomplete)} rows of `{path}` have no text or no label: "
            f"{_first(incomplete)}. Expected both in every row. Remove the "
            f"rows, or fill `{text_column}` and `{fields}`; texts "
            "without a label go into a file called `unlabelled"
            f"{data_suffix(path)}` in a folder with `train"
            f"{data_suffix(path)}`."
        )
    if not texts:
        raise empty_file_error(path)
    if all(_is_number(text) for text in texts):
        raise DataError(
            f"Column `{text_column}` of `{path}` must hold texts. Received: "
            f"only numbers, such as {texts[0]}. Name another one with "
            "`--text-column`."
        )
    return texts, labels


def read_texts(path: Path, text_column: str = "text") -> list[str]:
    """Reads the non-empty texts of a table, labelled or not."""
    texts = []
    for number, (line_number, record) in enumerate(read_records(path)):
        if number == 0:
            require_columns(path, record, text_column)
        text = text_of(path, line_number, record, text_column)
        if text:
            texts.append(text)
    return texts


def _read_table_folder(path, train_file, text_column, label_columns):
    texts, labels = read_table(train_file, text_column, label_columns)
    test_file = find_table(path, "test")
    unlabelled_file = find_table(path, "unlabelled") or find_table(
        path, "unlabeled"
    )
    for table, table_name, names in (
        (test_file, "test", ("test",)),
        (unlabelled_file, "unlabelled", UNLABELLED_FOLDERS),
    ):
        if table is None:
            _refuse_folders(path, names, train_file, table_name)
    _tell_of_others(path, {train_file, test_file, unlabelled_file})
    return label_columns.dataset(
        path.name,
        texts,
        labels,
        *(
            read_table(test_file, text_column, label_columns)
            if test_file
            else (None, None)
        ),
        unlabelled_texts=read_texts(unlabelled_file, text_column)
        if unlabelled_file
        else [],
    )


def _refuse_folders(path, names, train_file, table_name):
    """Raises `DataError` if texts lie where they would not be read."""
    for folder in (path / name for name in names):
        if folder.is_dir():
            raise DataError(
                f"`{folder}` is a folder beside the table `{train_file.name}`, "
                "and would not be read. Expected a table, "
                f"`{table_name}{data_suffix(train_file)}`. Make one of its "
                "texts, or move the folder elsewhere."
            )


def _tell_of_others(path, read):
    """Logs which files of a folder of tables are not among those read."""
    others = sorted(
        file.name
        for file in path.iterdir()
        if file not in read
        and not file.name.startswith(".")
        and data_suffix(file) in (*TABLE_SUFFIXES, ".txt")
    )
    if others:
        logger.warning(
            "%s: not read: %s. Texts are taken from the tables `train`, "
            "`test` and `unlabelled`; a validation split is made of `train`.",
            path,
            ", ".join(others[:10]),
        )


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first(line_numbers):
    shown = ", ".join(str(number) for number in line_numbers[:5])
    return f"lines {shown}{', ...' if len(line_numbers) > 5 else ''}"
