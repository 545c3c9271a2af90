import csv

import numpy as np

from trainers.report import Predictions, write_predictions
from ulmfit_tf.data import TaskType
from ulmfit_tf.pretrained import Decision


def _read(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_every_answer_is_a_row(tmp_path):
    texts = ['a "quoted", text', "two\nlines", "東京 \ud800"]
    predictions = Predictions(
        "test",
        texts,
        np.array([0, 1, 1]),
        np.array([[0.75, 0.25], [0.875, 0.125], [0.0, 1.0]]),
    )
    path = tmp_path / "test_predictions.csv"
    write_predictions(path, predictions, ("no", "yes, it is"), "|")
    rows = _read(path)
    assert [row["text"] for row in rows] == [*texts[:2], "東京 ?"]
    assert [
        (row["label"], row["answer"], row["right"], float(row["confidence"]))
        for row in rows
    ] == [
        ("no", "no", "1", 0.75),
        ("yes, it is", "no", "0", 0.875),
        ("yes, it is", "yes, it is", "1", 1.0),
    ]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_several_labels_are_joined(tmp_path):
    predictions = Predictions.judged(
        "test",
        ["a", "b"],
        np.array([[True, True], [False, True]]),
        np.array([[0.9, 0.8], [0.1, 0.2]], "float32"),
        Decision(TaskType.MULTI_LABEL, (0.5, 0.5)),
    )
    write_predictions(tmp_path / "table.csv", predictions, ("x", "y"), "||")
    first, second = _read(tmp_path / "table.csv")
    assert (first["label"], first["answer"]) == ("x||y", "x||y")
    assert (second["label"], second["answer"], second["right"]) == (
        "y",
        "",
        "0",
    )


def test_no_text_is_a_formula(tmp_path):
    texts = ['=HYPERLINK("http://a.b")', "-- not good", "+1+1", "@me"]
    texts += ["a = b", "+1", "-2.5"]
    labels = np.zeros(7, int)
    predictions = Predictions("test", texts, labels, np.eye(2)[labels])
    write_predictions(tmp_path / "table.csv", predictions, ("=1", "b"), "|")
    rows = _read(tmp_path / "table.csv")
    assert [row["text"] for row in rows] == [
        *(f"'{text}" for text in texts[:4]),
        *texts[4:],
    ]
    assert {row["label"] for row in rows} == {"'=1"}
