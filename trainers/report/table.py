"""All answers of a split as a table, to sort and filter."""

import csv

import numpy as np

from trainers.report.predictions import Predictions
from ulmfit_tf.whole_files import written_whole

# What makes a spreadsheet compute a cell (CWE-1236).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
