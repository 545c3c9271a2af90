"""CSV, TSV and JSON-lines files as streams of records."""

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import COMPRESSIONS, data_suffix, read_lines
from ulmfit_tf.data.undecodable import CONVERT

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
_TEST_WITHOUT_LABELS = (
    " If the test texts have no labels, rename the file to `unlabelled`, or "
    "move it away: others are then held out of `train`."
)


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Streams the records of a `.csv`, `.tsv` or `.jsonl` file.

    The first line of a CSV or TSV file names its columns. CSV quotes
    fields as spreadsheets do, and may separate them by semicolons, as they
    do where the comma is the decimal mark; TSV has one record a line.

    Args:
        path: The file, plain or as `.gz` or `.xz`.

    Yields:
        The line where a record starts, counted from 1, and the record.

    Raises:
        DataError: If the file is empty, or a line is malformed.
    """
    suffix = data_suffix(path)
    if suffix == ".jsonl":
        yield from _read_json_lines(path)
        return
    parse = _parse_csv_file if suffix == ".csv" else _parse_tsv
    rows = parse(path, read_lines(path))
    _, columns = next(rows, (0, None))
    if columns is None:
        raise empty_file_error(path)
    columns = [column.strip() for column in columns]
    repeated = {each for each in columns if each and columns.count(each) > 1}
    if repeated:
        raise DataError(
            f"`{path}` has more than one column {sorted(repeated)}. Its "
            f"columns are {columns}. Expected different names. Rename or "
            "remove the others."
        )
    for line_number, row in rows:
        if len(row) != len(columns):
            raise DataError(
                f"Line {line_number} of `{path}` has {len(row)} fields. "
                f"Expected: {len(columns)}, as in its first line, {columns}. "
                + (
                    'Put fields that hold a comma or a line break in "quotes".'
                    if suffix == ".csv"
                    else "Save texts that hold tabs or line breaks as .csv."
                )
            )
        yield line_number, dict(zip(columns, row, strict=True))


def parse_csv(
    where: object,
    lines: Iterable[str],
    delimiter: str = ",",
    blanks: bool = False,
) -> Iterator[tuple[int, list[str]]]:
    """Streams `(line number, fields)` of CSV lines; skips empty ones.

    Args:
        where: What the lines come from, for messages.
        lines: The lines, line ends included.
        delimiter: What separates fields.
        blanks: Whether blanks that follow a delimiter are part of it, so that
            a quote may come after them.

    Raises:
        DataError: If the quoting is broken.
    """
    # Documents are longer than the 128 kB that the module allows a field.
    csv.field_size_limit(2**31 - 1)
    # Strict: an unclosed quote would swallow the rest of the file.
    reader = csv.reader(
        _without_stray_returns(lines),
        delimiter=delimiter,
        skipinitialspace=blanks,
        strict=True,
    )
    line_number = 1
    try:
        for row in reader:
            if row:
                yield line_number, row
            line_number = reader.line_num + 1
    except csv.Error as error:
        if "new-line character" in str(error):
            raise DataError(
                f"`{where}` ends its lines by a carriage return alone. "
                "Expected: line feeds, or both. Convert it: "
                "tr '\\r' '\\n', or save it as CSV UTF-8."
            ) from error
        raise DataError(
            f"Line {line_number} of `{where}` is not valid CSV: {error}. "
            'Fields that hold a quote need "quotes" around them and the '
            'quote inside doubled: "". For files without quoting use .tsv.'
        ) from error


def _without_stray_returns(lines):
    """Replaces carriage returns inside of lines, which end no line there.

    Python's writer leaves them without quotes, and its reader refuses them.
    In a first line that nothing ends they end the lines, and stay.
    """
    for index, line in enumerate(lines):
        body = line.removesuffix("\n").removesuffix("\r")
        if "\r" in body and (index or line.endswith("\n")):
            line = body.replace("\r", " ") + line[len(body) :]
        yield line


def require_columns(path: Path, record: dict, *columns: str):
    """Raises a `DataError` that lists the columns if one is missing."""
    for column in columns:
        if column not in record:
            raise DataError(
                f"`{path}` has no column `{column}`. Its columns are "
                f"{list(record)}. Name the right one with `--text-column` "
                "or `--label-column`; the first line of a CSV or TSV file "
                "must hold the column names."
                + (f" {CONVERT}" if "\ufffd" in "".join(record) else "")
                + (_TEST_WITHOUT_LABELS if path.name[:5] == "test." else "")
            )


def text_of(path: Path, line_number: int, record: dict, column: str) -> str:
    """Returns a record's text, or `""` if it is absent or blank.

    Raises:
        DataError: If it is not a string.
    """
    text = record.get(column)
    if text is not None and not isinstance(text, str):
        raise DataError(
            f"Column `{column}` of `{path}` must hold strings. Received: "
            f"{text!r} of type `{type(text).__name__}` in line "
            f"{line_number}. Name another one with `--text-column`."
        )
    if not text or not text.strip():
        return ""
    # JSON can hold half of a surrogate pair, which UTF-8 cannot.
    return text.encode("utf-8", "replace").decode("utf-8")


def find_table(folder: Path, stem: str) -> Path | None:
    """Returns the one table called `stem` in a folder, such as `train.csv`.

    Raises:
        DataError: If several formats of it lie side by side.
    """
    found = [
        folder / f"{stem}{suffix}{compression}"
        for suffix in TABLE_SUFFIXES
        for compression in ("", *COMPRESSIONS)
        if (folder / f"{stem}{suffix}{compression}").is_file()
    ]
    if len(found) > 1:
        raise DataError(
            f"`{folder}` holds more than one `{stem}` file: "
            f"{[path.name for path in found]}. Expected one. Move the "
            "others away."
        )
    return found[0] if found else None


def empty_file_error(path: Path) -> DataError:
    """Returns the error for a file without any record."""
    return DataError(
        f"`{path}` is empty. Expected at least one record "
        "(.csv and .tsv: after a first line of column names)."
    )


def _read_json_lines(path):
    for line_number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        # Not `JSONDecodeError` alone: of thousands of digits, or nested so
        # deeply, it would be valid and cannot be read all the same.
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"Line {line_number} of `{path}` is not valid JSON: {error}. "
                'Expected one object per line, such as {"text": "...", '
                '"label": "..."}.'
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"Line {line_number} of `{path}` is not a JSON object. "
                f"Received: a {type(record).__name__}. Expected one object "
                'per line, such as {"text": "...", "label": "..."}.'
            )
        yield line_number, record


def _parse_csv_file(path, lines):
    first = next(lines, "")
    # A header of one column would be none of a labelled text.
    semicolons = ";" in first and "," not in first
    delimiter = ";" if semicolons else ","
    lines = itertools.chain([first], lines)
    # A file whose first line has blanks after delimiters has them throughout.
    return parse_csv(path, lines, delimiter, blanks=f"{delimiter} " in first)


def _parse_tsv(path, lines):
    for line_number, line in enumerate(lines, start=1):
        line = line.rstrip("\r\n")
        if line:
            yield line_number, [_unquote(field) for field in line.split("\t")]


def _unquote(field):
    # TSV has no quoting, but what pandas writes has.
    if re.fullmatch(r'"(?:[^"]|"")*"', field):
        return field[1:-1].replace('""', '"')
    return field
