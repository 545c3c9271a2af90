"""The language model command on a small text of the user's own."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

_ROOT = pathlib.Path(__file__).parents[2]


def _run(cache, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "trainers.language_model", *arguments],
        cwd=_ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    questions = _ROOT / "ulmfit_tf" / "data" / "questions" / "train.tsv"
    lines = questions.read_text(encoding="utf-8").splitlines()[1:]
    path = tmp_path_factory.mktemp("corpus") / "questions.txt"
    path.write_text("\n".join(line.split("\t")[1] for line in lines))
    return path


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    result = _run(
        folder / "cache",
        *("--corpus", str(corpus), "--output", str(folder / "run")),
        *("--preset", "tiny", "--batch-size", "4", "--epochs", "2"),
        *("--validation-fraction", "0.1", "--sample-size", "64"),
        *("--direction", "backward", "--learning-rate", "0.01"),
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_it_learns_and_leaves_a_model_that_loads(trained):
    from ulmfit_tf.pretrained import load_pretrained

    run_dir = pathlib.Path(trained["run_dir"])
    records = json.loads((run_dir / "metrics.json").read_text())["records"]
    perplexities = [record["val_perplexity"] for record in records]
    assert perplexities[-1] < perplexities[0]
    model = load_pretrained([str(run_dir)], "backward")
    # A uniform guess would be as bad as the vocabulary is large.
    assert perplexities[-1] < len(model.tokenizer.vocabulary)
    assert all(np.isfinite(a).all() for a in model.weights.values())
    with pytest.raises(ValueError, match="no pretrained forward"):
        load_pretrained([str(run_dir)], "forward")


def test_a_finished_run_resumed_gives_its_figures(trained, tmp_path):
    result = _run(tmp_path, "--resume", trained["run_dir"])
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == trained


@pytest.mark.parametrize(
    "arguments, message",
    [
        pytest.param(["--corpus", "wikitext-13"], "wikitext-103", id="name"),
        pytest.param(["--preset", "huge"], "compact", id="preset"),
        pytest.param(["--pretrained", "nowhere"], "nowhere", id="pretrained"),
        pytest.param(["--epochs", "0"], "--epochs", id="epochs"),
    ],
)
def test_a_mistake_leaves_no_folder(corpus, arguments, message, tmp_path):
    output = tmp_path / "run"
    result = _run(
        tmp_path,
        *("--corpus", str(corpus), "--output", str(output)),
        *arguments,
    )
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not output.exists()
