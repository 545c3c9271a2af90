"""The classifier command on texts with several labels, as a user runs it."""

import json
import pathlib
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from sklearn import metrics

from serving.grpc_client import Client
from serving.model_server import Server, ServerOptions
from serving.model_source import ModelSource
from serving.session_model import SessionModel
from ulmfit_tf import pretrained

_ROOT = pathlib.Path(__file__).parents[2]
# A word that says the label.
_WORDS = {"animal": "dog", "place": "river", "time": "year"}


def _rows(number, seed):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        labels = [name for name in _WORDS if rng.random() < 0.4]
        words = [*rng.choice(["a", "the", "of"], 4), *map(_WORDS.get, labels)]
        yield " ".join(rng.permutation(words)), labels


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tags.csv"
    lines = [f"{text},{';'.join(labels)}" for text, labels in _rows(300, 0)]
    path.write_text("\n".join(["text,tags", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def figures(table, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "tags"
    result = subprocess.run(
        [
            *(sys.executable, "-m", "trainers.classifier"),
            *("--dataset", str(table), "--output", str(output)),
            *("--multi-label", "--label-column", "tags"),
            *("--label-separator", ";", "--num-labels", "200"),
            *("--pretrained", "none", "--preset", "tiny"),
            *("--language-model-epochs", "1", "--epochs", "10"),
            *("--learning-rate", "0.02", "--batch-size", "16"),
            *("--precision", "float32"),
            # So little text needs none.
            *("--dropout", "0", "--label-smoothing", "0"),
            *("--language-model-batch-size", "4"),
            *("--class-weights", "balanced", "--early-stopping", "9"),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_the_last_line_has_the_figures_that_fit(figures):
    assert figures["task_type"] == "multi-label"
    assert figures["test_accuracy"] + figures["test_error"] == pytest.approx(
        100
    )
    # Answering all labels of every text would have about 57 %.
    assert figures["test_micro_f1"] > 70
    assert figures["test_macro_f1"] > 70
    metrics_file = pathlib.Path(figures["run_dir"]) / "metrics.json"
    content = json.loads(metrics_file.read_text())
    for name, value in content["scores"]["test"].items():
        assert figures[f"test_{name}"] == value
    assert set(content["classes"]["validation"]) == set(_WORDS)
    records = content["records"]["forward_classifier"]
    assert {"val_loss", "val_micro_f1", "val_macro_f1"} <= set(records[-1])


def test_the_exported_model_joins_the_labels(figures):
    run_dir = pathlib.Path(figures["run_dir"])
    version = pathlib.Path(figures["saved_model"])
    description = json.loads((version / "export.json").read_text())
    thresholds = description["thresholds"]
    assert description["task_type"] == "multi-label"
    stored = pretrained.TrainedClassifier.from_preset(run_dir / "classifier")
    assert list(stored.decision.thresholds) == thresholds
    texts, labels = zip(*_rows(100, 1), strict=True)
    model = SessionModel(version)
    outputs = model.run("serving_default", {"text": np.array(texts, object)})
    model.close()
    answers = [
        set(label.decode().split(";")) - {""} for label in outputs["label"]
    ]
    flags = [
        [[name in each for name in sorted(_WORDS)] for each in of_texts]
        for of_texts in (labels, answers)
    ]
    np.testing.assert_array_equal(
        flags[1], outputs["probabilities"] >= np.float32(thresholds)
    )
    assert metrics.f1_score(*flags, average="micro") > 0.7


def test_thresholds_lie_between_answers_on_the_validation_split(figures):
    """On the test split's answers they would lie elsewhere."""
    run_dir = pathlib.Path(figures["run_dir"])
    stored = pretrained.TrainedClassifier.from_preset(run_dir / "classifier")

    def lie_between_answers(split):
        file = run_dir / "forward" / f"{split}_probabilities.npz"
        with np.load(file) as content:
            answers = np.sort(content["probabilities"], axis=0)
        middles = (answers[1:] + answers[:-1]) / 2
        thresholds = np.array(stored.decision.thresholds, "float32")
        return (middles == thresholds).any(axis=0)

    assert lie_between_answers("validation").all()
    assert not lie_between_answers("test").any()


def test_the_run_folder_has_a_report_and_the_words(figures):
    run_dir = pathlib.Path(figures["run_dir"])
    report = (run_dir / "report.html").read_text()
    assert "Labels one by one" in report
    (words,) = run_dir.glob("forward/classifier/logs/train/words.tsv")
    assert "dog" in words.read_text()


@pytest.mark.serving
def test_grpc_and_rest_give_the_labels_of_the_trainer(figures):
    run_dir = pathlib.Path(figures["run_dir"])
    stored = pretrained.TrainedClassifier.from_preset(run_dir / "classifier")
    texts = [text for text, _ in _rows(20, 2)]
    probabilities = stored.predict(texts)
    expected = [
        ";".join(np.array(stored.classes)[row])
        for row in stored.decision.answers(probabilities)
    ]
    assert len(set(expected)) > 3
    server = Server(
        [ModelSource("tags", run_dir / "saved_model")],
        ServerOptions(port=0, rest_port=0),
    )
    server.start()
    try:
        with Client(f"127.0.0.1:{server.port}", "tags") as client:
            over_grpc = client.predict(texts)
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/tags:predict"
        body = json.dumps({"instances": texts}).encode()
        with urllib.request.urlopen(url, body, timeout=60) as response:
            over_rest = json.load(response)["predictions"]
    finally:
        server.stop()
    assert [each.label for each in over_grpc] == expected
    assert [each["label"] for each in over_rest] == expected
    np.testing.assert_allclose(
        [list(each.probabilities.values()) for each in over_grpc],
        probabilities,
        atol=1e-5,
    )
