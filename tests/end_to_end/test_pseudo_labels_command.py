"""A classifier that is trained a second time, killed and resumed."""

import json
import math

import numpy as np
import pytest

from ulmfit_tf import pretrained
from ulmfit_tf.data import load_dataset

_ARGUMENTS = [
    *("--dataset", "questions", "--num-labels", "200"),
    *("--pretrained", "none", "--preset", "tiny"),
    *("--language-model-epochs", "0", "--epochs", "3"),
    *("--pseudo-labels", "200", "--checkpoint-seconds", "0"),
]


@pytest.fixture(scope="module")
def uninterrupted(classifier_command, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "uninterrupted"
    figures = classifier_command.figures(*_ARGUMENTS, "--output", str(output))
    return figures, output


def _metrics(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())


def _first(output, split):
    name = f"first_{split}_probabilities.npz"
    with np.load(output / "forward" / name) as file:
        return file["probabilities"]


def test_the_classifier_is_the_second_and_its_labels_are_the_firsts_surest(
    uninterrupted,
):
    figures, output = uninterrupted
    dataset = load_dataset("questions")
    split, texts, labels = dataset.limit_labels(200, seed=0).split_validation(
        0.1, seed=0
    )
    first = _first(output, "validation").argmax(axis=1)
    assert figures["validation_error_without_pseudo_labels"] == pytest.approx(
        100 * np.mean(first != labels), abs=1e-3
    )
    classifier = pretrained.TrainedClassifier.from_preset(output / "classifier")
    answers = classifier.predict(texts)
    assert not np.allclose(answers, _first(output, "validation"), atol=0.01)
    # 200 are two fifths of them.
    assert len(_first(output, "unlabelled")) == 500
    added = figures["pseudo_labels"]
    assert 0 < added <= 200
    # Batches of 64, three epochs, of the labelled texts and the others.
    logs = _metrics(output)["records"]["forward_second_classifier"]
    steps = math.ceil((len(split.train_texts) + added) / 64)
    assert logs[-1]["step"] == 3 * steps
    report = (output / "report.html").read_text()
    assert "Stage three: first forward classifier" in report
    assert "Stage three again: second forward classifier" in report
    assert f"beside {added} texts without a label" in report
    assert f"(and {added} with" in report
    assert "Without pseudo-labels" in report
    assert "overrides" not in report


def test_killed_in_its_second_training_it_ends_the_same(
    classifier_command, uninterrupted, tmp_path
):
    figures, output = uninterrupted
    killed = tmp_path / "killed"
    classifier_command.kill_in_training(
        "forward/second_classifier", 1, *_ARGUMENTS, "--output", str(killed)
    )
    resumed = classifier_command.figures("--resume", str(killed))
    unlike = {"seconds", "run_dir", "saved_model"}
    assert {k: v for k, v in resumed.items() if k not in unlike} == {
        k: v for k, v in figures.items() if k not in unlike
    }
    assert _metrics(killed)["records"] == _metrics(output)["records"]
    report = (killed / "report.html").read_text()
    assert "epochs of the second classifier" not in report
    assert "second recipe" not in report


def test_a_mistake_is_told_before_there_is_a_run(classifier_command, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text(
        "text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(40))
    )
    result = classifier_command.run(
        *("--dataset", str(table), "--pretrained", "none"),
        *("--pseudo-labels", "10", "--output", str(tmp_path / "run")),
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: `--pseudo-labels`")
    assert not (tmp_path / "run").exists()
