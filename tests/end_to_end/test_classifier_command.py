"""The classifier command, its recipe shrunk to seconds, as a user runs it."""

import csv
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ulmfit_tf import models, pretrained, text
from ulmfit_tf.data import load_dataset

_ROOT = pathlib.Path(__file__).parents[2]
# Everything else is the recipe's own: rates, dropouts, unfreezing.
_SHRUNK = [
    *("--dataset", "questions", "--num-labels", "200"),
    *("--language-model-epochs", "2", "--language-model-batch-size", "8"),
    *("--epochs", "5", "--checkpoint-seconds", "0"),
]


def _command(*arguments):
    return [sys.executable, "-m", "trainers.classifier", *arguments]


def _run(*arguments):
    return subprocess.run(
        _command(*arguments),
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def _figures(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """A tiny language model that knows a few of the words."""
    words = [
        "what",
        "is",
        "the",
        "a",
        "of",
        "in",
        "how",
        "many",
        "who",
        "which",
        "?",
        ".",
        "river",
        "city",
    ]
    vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, *words])
    architecture = models.ARCHITECTURES["tiny"]
    model = models.LanguageModel(len(vocabulary), architecture, batch_size=1)
    model.build()
    folder = tmp_path_factory.mktemp("pretrained") / "tiny"
    pretrained.PretrainedLanguageModel(
        architecture,
        "forward",
        text.WordTokenizer(vocabulary),
        models.get_weights(models.language_model_weights(model)),
    ).save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def shrunk(language_model):
    return [*_SHRUNK, "--pretrained", str(language_model)]


@pytest.fixture(scope="module")
def uninterrupted(shrunk, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "uninterrupted"
    return _figures(_run(*shrunk, "--output", str(output)))


def test_the_command_leaves_a_whole_run_folder(uninterrupted):
    run_dir = pathlib.Path(uninterrupted["run_dir"])
    assert set(uninterrupted) >= {
        "dataset",
        "test_error",
        "test_accuracy",
        "validation_error",
        "seconds",
        "run_dir",
        "saved_model",
    }
    assert uninterrupted["test_accuracy"] == pytest.approx(
        100 - uninterrupted["test_error"]
    )
    config = json.loads((run_dir / "config.json").read_text())
    assert config["recipe"]["decay_factor"] == 2.6
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["figures"] == uninterrupted
    assert len(metrics["records"]["forward_language_model"]) == 2
    records = metrics["records"]["forward_classifier"]
    assert [record["epoch"] for record in records] == [0, 1, 2, 3, 4]
    rates = [
        [record[f"learning_rate/group_{group}"] for group in range(5)]
        for record in records
    ]
    for epoch, of_groups in enumerate(rates):
        # One more group is trained in each epoch, the head from the first.
        assert [rate > 0 for rate in of_groups] == [
            group >= 4 - epoch for group in range(5)
        ]
    # The last epoch is a stage of its own, with all groups at their rates.
    last = np.array(rates[-1])
    np.testing.assert_allclose(last[1:] / last[:-1], 2.6, rtol=1e-5)
    assert list(run_dir.glob("forward/*/logs/train/events*"))
    assert (run_dir / "report.html").stat().st_size > 10_000
    low, high = metrics["intervals"]["test"]["error"]
    assert low < uninterrupted["test_error"] < high
    assert set(metrics["intervals"]["test"]) == {"error", "macro_f1"}
    assert 0 < metrics["expected_calibration_errors"]["test"] < 100
    with open(run_dir / "test_predictions.csv", encoding="utf-8-sig") as file:
        right = [row["right"] for row in csv.DictReader(file)]
    assert 100 * right.count("0") / len(right) == pytest.approx(
        uninterrupted["test_error"], abs=1e-4
    )
    assert not list(run_dir.rglob("*partial*"))


def test_the_error_is_that_of_the_classifier_on_the_test_split(uninterrupted):
    run_dir = pathlib.Path(uninterrupted["run_dir"])
    classifier = pretrained.TrainedClassifier.from_preset(
        run_dir / "classifier"
    )
    dataset = load_dataset("questions")
    answers = classifier.predict(dataset.test_texts).argmax(axis=1)
    names = [classifier.classes[answer] for answer in answers]
    labels = [dataset.classes[label] for label in dataset.test_labels]
    wrong = np.mean([a != b for a, b in zip(names, labels, strict=True)])
    # Rounding may decide a close call.
    assert uninterrupted["test_error"] == pytest.approx(100 * wrong, abs=0.7)


_ASK = """
import sys
import tensorflow as tf, tensorflow_text
path, texts = sys.argv[1], sys.argv[2:]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
    signature = meta.signature_def["serving_default"]
    label, probabilities = session.run(
        [signature.outputs["label"].name,
         signature.outputs["probabilities"].name],
        {signature.inputs["text"].name: texts})
    operations = {op.type for op in session.graph.get_operations()}
    operations |= {n.op for f in session.graph.as_graph_def().library.function
                   for n in f.node_def}
assert not [op for op in operations if "Cudnn" in op or "PyFunc" in op]
import json
print(json.dumps([[l.decode() for l in label], probabilities.tolist()]))
"""


def test_the_saved_model_answers_raw_text_in_a_bare_process(
    uninterrupted, tmp_path
):
    moved = tmp_path / "elsewhere"
    os.rename(uninterrupted["saved_model"], moved)
    texts = ["Who wrote it?", "How many legs has an insect?", "", "é\x00 ?"]
    try:
        result = subprocess.run(
            [sys.executable, "-c", _ASK, str(moved), *texts[:3]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        labels, probabilities = json.loads(result.stdout.splitlines()[-1])
    finally:
        os.rename(moved, uninterrupted["saved_model"])
    run_dir = pathlib.Path(uninterrupted["run_dir"])
    classifier = pretrained.TrainedClassifier.from_preset(
        run_dir / "classifier"
    )
    expected = classifier.predict(texts[:3])
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert labels == [classifier.classes[i] for i in expected.argmax(1)]


def _kill_in(stage, output, *arguments):
    """Starts the command and kills it a few steps into a stage."""
    state = output / "forward" / stage / "training_state.npz"
    process = subprocess.Popen(
        _command(*arguments),
        cwd=_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    try:
        while time.monotonic() < deadline:
            assert process.poll() is None, "it ended before it was killed"
            if state.exists() and _step(state) >= 3:
                return
            time.sleep(0.005)
        pytest.fail("the stage did not begin in time")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _step(state):
    with np.load(state, allow_pickle=False) as file:
        return json.loads(file["header"].tobytes())["step"]


def test_killed_in_each_stage_and_resumed_it_ends_the_same(
    shrunk, uninterrupted, tmp_path
):
    output = tmp_path / "killed"
    _kill_in("language_model", output, *shrunk, "--output", str(output))
    assert not (output / "forward" / "language_model.npz").exists()
    _kill_in("classifier", output, "--resume", str(output))
    assert not (output / "metrics.json").exists()
    resumed = _figures(_run("--resume", str(output)))
    for figure in ("test_error", "validation_error"):
        assert resumed[figure] == uninterrupted[figure]
    assert _records(output) == _records(uninterrupted["run_dir"])


def _records(run_dir):
    metrics = (pathlib.Path(run_dir) / "metrics.json").read_text()
    return json.loads(metrics)["records"]


@pytest.mark.slow
def test_killed_in_the_export_it_still_ends_with_a_whole_saved_model(
    classifier_command, uninterrupted, tmp_path
):
    # A run that has trained, and neither exported nor reported.
    output = tmp_path / "run"
    shutil.copytree(uninterrupted["run_dir"], output)
    shutil.rmtree(output / "saved_model")
    (output / "report.html").unlink()
    (output / "metrics.json").unlink()
    resume = ["--resume", str(output)]
    # All is written, and not yet checked and published.
    classifier_command.kill_at(
        "serving.self_check", "check_in_fresh_process", *resume
    )
    assert not (output / "saved_model" / "1").exists()
    assert list((output / "saved_model").glob(".export-*"))
    figures = classifier_command.figures(*resume)
    for figure in ("test_error", "validation_error"):
        assert figures[figure] == uninterrupted[figure]
    assert [path.name for path in (output / "saved_model").iterdir()] == ["1"]
    assert _files(figures["saved_model"]) == _files(
        uninterrupted["saved_model"]
    )
    assert (output / "report.html").exists()


def _files(folder):
    folder = pathlib.Path(folder)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.slow
def test_killed_before_each_last_step_it_ends_the_same(
    classifier_command, uninterrupted, tmp_path
):
    output = tmp_path / "run"
    shutil.copytree(uninterrupted["run_dir"], output)
    for name in ("saved_model", "classifier"):
        shutil.rmtree(output / name)
    (output / "report.html").unlink()
    (output / "metrics.json").unlink()
    resume = ["--resume", str(output)]
    kill_at = classifier_command.kill_at
    kill_at("ulmfit_tf.text", "save_tokenizer", *resume)
    assert not (output / "classifier").exists()
    kill_at("trainers.run", "export_classifier", *resume)
    assert (output / "classifier" / "config.json").exists()
    kill_at("trainers.run", "write_report", *resume)
    assert (output / "saved_model" / "1").exists()
    assert not (output / "report.html").exists()
    figures = classifier_command.figures(*resume)
    for figure in ("test_error", "validation_error"):
        assert figures[figure] == uninterrupted[figure]
    kept = {path.name for path in pathlib.Path(figures["run_dir"]).iterdir()}
    assert kept == {
        path.name for path in pathlib.Path(uninterrupted["run_dir"]).iterdir()
    }


@pytest.mark.slow
def test_killed_in_the_second_direction_while_early_stopping(
    classifier_command, tmp_path
):
    # Rates so high that the validation loss soon rises.
    arguments = [
        *("--dataset", "questions", "--num-labels", "200"),
        *("--pretrained", "none", "--preset", "tiny", "--bidirectional"),
        *("--language-model-epochs", "2", "--language-model-batch-size", "8"),
        *("--epochs", "9", "--early-stopping", "1", "--learning-rate", "0.5"),
        *("--checkpoint-seconds", "0"),
    ]
    uninterrupted = tmp_path / "uninterrupted"
    expected = classifier_command.figures(
        *arguments, "--output", str(uninterrupted)
    )
    records = _records(uninterrupted)
    epochs = len(records["backward_classifier"])
    assert 2 <= epochs < 9
    killed = tmp_path / "killed"
    kill = classifier_command.kill_in_training
    kill("backward/language_model", 1, *arguments, "--output", str(killed))
    assert (killed / "forward" / "classifier.npz").exists()
    # After the best epoch, in the one that makes it stop.
    kill("backward/classifier", epochs - 1, "--resume", str(killed))
    assert not (killed / "backward" / "classifier.npz").exists()
    resumed = classifier_command.figures("--resume", str(killed))
    errors = {name: resumed[name] for name in resumed if "error" in name}
    assert errors.keys() == {
        *("test_error", "validation_error"),
        *("forward_test_error", "backward_test_error"),
    }
    assert errors == {name: expected[name] for name in errors}
    assert _records(killed) == records
    texts = ["Who wrote it?", "How many legs has an insect?"]
    np.testing.assert_array_equal(
        *(
            pretrained.TrainedClassifier.from_preset(
                run / "classifier"
            ).predict(texts)
            for run in (killed, uninterrupted)
        )
    )


def test_a_used_output_folder_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = _run("--dataset", "questions", "--output", str(tmp_path))
    assert result.returncode == 2
    assert "is not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_users_table_without_the_column_leaves_no_folder(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("review,stars\ngood,5\nbad,1\n")
    output = tmp_path / "run"
    result = _run("--dataset", str(table), "--output", str(output))
    assert result.returncode == 2
    assert result.stdout == ""
    (message,) = result.stderr.splitlines()
    assert message.startswith(f"error: `{table}` has no column `text`")
    assert not output.exists()
