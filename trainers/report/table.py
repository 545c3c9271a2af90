"""All answers of a split as a table, to sort and filter."""

import csv
import re

import numpy as np

from trainers.report.predictions import Predictions
from ulmfit_tf.whole_files import written_whole

# What makes a spreadsheet compute a cell (CWE-1236).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def write_predictions(path, predictions: Predictions, classes, separator):
    """Writes a CSV file with a row a text, in the order of the data set.

    Columns: `text`, `label`, `answer`, `right` (1 or 0) and `confidence`, see
    `Predictions.confidences`. Where a text or a label begins like a formula,
    which a spreadsheet would run, there is a `'` before it.

    Args:
        path: Path of the file; it is written beside and renamed.
        predictions: `Predictions` of a split.
        classes: Class names.
        separator: Str between the labels of a text that has several.
    """

    def names(flags):
        return separator.join(classes[i] for i in np.flatnonzero(flags))

    with (
        written_whole(path) as beside,
        # A byte order mark, by which Excel knows UTF-8.
        open(
            beside, "w", encoding="utf-8-sig", errors="replace", newline=""
        ) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["text", "label", "answer", "right", "confidence"])
        for text, labels, answers, right, confidence in zip(
            predictions.texts,
            predictions.label_flags,
            predictions.answer_flags,
            predictions.hits,
            predictions.confidences,
            strict=True,
        ):
            writer.writerow(
                [
                    *map(_inert, (text, names(labels), names(answers))),
                    int(right),
                    f"{confidence:.4f}",
                ]
            )


def _inert(cell):
    is_formula = cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell
