"""Flags of the classifier command, run to the end on small data."""

import csv
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from trainers import classifier, command_line
from ulmfit_tf import pretrained

_ROOT = pathlib.Path(__file__).parents[2]
_TINY = [
    *("--pretrained", "none", "--preset", "tiny"),
    *("--language-model-epochs", "1", "--language-model-steps", "4"),
    *("--batch-size", "16"),
]
_GROUPS = [0, 1, 2, 3, 4]  # The embedding, three LSTM layers, the head.


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A user's table: two classes, one in seven rare, as Excel saves it."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review", "would return"])
        for index in range(140):
            rare = index % 7 == 0
            word = "awful" if rare else "lovely"
            review = f'Room {index} was\n{word}, "really" {word}.'
            writer.writerow([index, review, " no way" if rare else "yes"])
    return [
        *("--dataset", str(path)),
        *("--text-column", "review", "--label-column", "would return"),
    ]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            command_line.run(
                classifier.main, [*arguments, "--output", "here/run"]
            )
        captured = capsys.readouterr()
        assert ended.value.code == 0, captured.err
        return json.loads(captured.out.splitlines()[-1])

    return run


def _records(figures):
    metrics = pathlib.Path(figures["run_dir"]) / "metrics.json"
    return json.loads(metrics.read_text())["records"]


def _trained_groups(records):
    """Groups whose rate was not 0, epoch by epoch."""
    return [
        [group for group in _GROUPS if record[f"learning_rate/group_{group}"]]
        for record in records
    ]


def test_many_flags_at_once(run, table):
    figures = run(
        *table,
        *_TINY,
        *("--direction", "backward", "--tokenizer", "sentencepiece"),
        *("--vocabulary-size", "150", "--unfreezing", "script"),
        *("--class-weights", "balanced", "--label-smoothing", "0.1"),
        *("--epochs", "6", "--early-stopping", "2", "--learning-rate", "0.1"),
    )
    run_dir = pathlib.Path(figures["run_dir"])
    assert figures["test_accuracy"] == pytest.approx(
        100 - figures["test_error"]
    )
    records = _records(figures)
    assert set(records) == {"backward_language_model", "backward_classifier"}
    records = records["backward_classifier"]
    losses = [record["val_loss"] for record in records]
    # Stopped two epochs after the best one, of which the two before all layers
    # are trained count as one, or not at all.
    assert len(losses) == min(6, max(int(np.argmin(losses)), 1) + 3)
    assert _trained_groups(records)[:3] == [[4], [3, 4], _GROUPS]
    kept = pretrained.TrainedClassifier.from_preset(run_dir / "classifier")
    assert kept.classes == ("no way", "yes")
    assert set(kept.weights) == {"backward"}
    assert (run_dir / "classifier" / "tokenizer.model").exists()
    assert (run_dir / "saved_model" / "1" / "saved_model.pb").exists()


@pytest.mark.slow
def test_both_directions(run, table):
    figures = run(
        *table,
        *_TINY,
        *("--bidirectional", "--epochs", "4", "--learning-rate", "0.1"),
    )
    assert set(_records(figures)) == {
        f"{direction}_{stage}"
        for direction in ("forward", "backward")
        for stage in ("language_model", "classifier")
    }
    run_dir = pathlib.Path(figures["run_dir"])
    kept = pretrained.TrainedClassifier.from_preset(run_dir / "classifier")
    # The two directions' probabilities, averaged.
    texts = ["Room 7 was awful.", "A lovely room, and a lovely view of it."]
    of_one = [
        pretrained.TrainedClassifier(
            kept.classes,
            kept.tokenizer,
            kept.settings,
            {direction: kept.weights[direction]},
        ).predict(texts)
        for direction in ("forward", "backward")
    ]
    assert np.abs(of_one[0] - of_one[1]).max() > 1e-4
    np.testing.assert_allclose(
        kept.predict(texts), np.mean(of_one, axis=0), rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, expected",
    [
        ("paper", [[4], [3, 4], [2, 3, 4], [1, 2, 3, 4], _GROUPS, _GROUPS]),
        ("script", [[4], [3, 4], _GROUPS, _GROUPS]),
        ("chain-thaw", [[4], [0], [1], [2], [3], _GROUPS, _GROUPS]),
        ("full", [_GROUPS, _GROUPS]),
        ("last", [[4], [4]]),
    ],
)
def test_unfreezing(run, table, method, expected):
    figures = run(
        *table,
        *_TINY,
        *("--unfreezing", method, "--epochs", str(len(expected))),
    )
    records = _records(figures)["forward_classifier"]
    assert _trained_groups(records) == expected
    run_dir = pathlib.Path(figures["run_dir"]) / "forward"
    with (
        np.load(run_dir / "language_model.npz") as before,
        np.load(run_dir / "classifier.npz") as after,
    ):
        encoder = set(before.files) & set(after.files)
        assert encoder
        changed = {
            n for n in encoder if not np.array_equal(before[n], after[n])
        }
    # Training the head alone leaves the language model's layers as they were.
    assert changed == (set() if method == "last" else encoder)


@pytest.mark.slow
def test_without_a_test_split(run, table):
    figures = run(*table, *_TINY, "--test-fraction", "0", "--epochs", "2")
    assert figures["test_error"] is None
    assert figures["test_accuracy"] is None
    assert 0 <= figures["validation_error"] <= 100


_ON_TWO_DEVICES = """
import sys
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from trainers import classifier, command_line
command_line.run(classifier.main, sys.argv[1:])
"""


@pytest.mark.slow
def test_mirrored_on_two_devices(table, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", _ON_TWO_DEVICES, *table, *_TINY]
        + ["--strategy", "mirrored", "--class-weights", "balanced"]
        + ["--epochs", "6", "--unfreezing", "paper", "--output"]
        + [str(tmp_path / "run")],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    assert "on 2 device(s)" in result.stderr
    figures = json.loads(result.stdout.splitlines()[-1])
    records = _records(figures)["forward_classifier"]
    assert _trained_groups(records)[-1] == _GROUPS
    # That replicas learn what one device does: tests/training.
    for loss in ("loss", "val_loss"):
        assert np.isfinite([record[loss] for record in records]).all()
