"""A run prepared on one machine, trained on another, finished on the first."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from trainers import language_model, train_on_ids
from trainers.command_line import UserError

_ROOT = pathlib.Path(__file__).parents[2]
_TEXTS = "\n".join(
    f"the {color} fox number {number} saw a {thing} and ran"
    for number in range(60)
    for color, thing in (("red", "hen"), ("grey", "cat"), ("old", "dog"))
)
_FLAGS = (
    *("--validation-fraction", "0.2", "--batch-size", "4", "--epochs", "3"),
    *("--windows", "equal", "--learning-rate", "0.01", "--sample-size", "0"),
    # What is drawn at random differs from backend to backend.
    *("--dropout-multiplier", "0", "--checkpoint-seconds", "0"),
)
_WITHOUT_TENSORFLOW = """
import runpy, sys
for name in ("tensorflow", "tensorflow_text", "tf_keras", "tensorboard"):
    sys.modules[name] = None
runpy.run_module("trainers.train_on_ids", run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "texts.txt").write_text(_TEXTS)
    return folder


@pytest.fixture(autouse=True)
def own_cache(folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def start(folder):
    """A language model to start from, so that backends start alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        language_model.main(
            ["--corpus", "texts.txt", "--preset", "tiny", "--output", "start"]
            + ["--validation-fraction", "0.2", "--epochs", "1"]
        )
    return folder / "start"


def _fine_tune(start, output, *flags):
    return language_model.main(
        ["--corpus", "texts.txt", "--pretrained", str(start), *_FLAGS]
        + ["--output", str(output), *flags]
    )


@pytest.fixture(scope="module")
def direct(folder, start):
    """The records and weights of the run in one piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        _fine_tune(start, "direct")
    return _results(folder / "direct")


@pytest.fixture
def prepared(start, tmp_path):
    """The run folder, and no trace of a model in it."""
    run = tmp_path / "prepared"
    figures = _fine_tune(start, run, "--prepare")
    assert figures["run_dir"] == str(run)
    assert not (run / "training").exists()
    assert not (run / "metrics.json").exists()
    return run


def _results(run):
    records = json.loads((run / "metrics.json").read_text())["records"]
    with np.load(run / "forward" / "weights.npz") as file:
        return records, {name: file[name] for name in file.files}


def test_trained_elsewhere_it_is_the_same_run(prepared, direct, tmp_path):
    there = tmp_path / "there"
    shutil.move(prepared, there)
    figures = train_on_ids.main([str(there)])
    shutil.move(there, prepared)
    finished = language_model.main(["--resume", str(prepared)])
    assert finished["validation_perplexity"] == figures["validation_perplexity"]
    records, weights = _results(prepared)
    expected_records, expected_weights = direct
    assert records == expected_records
    for name, array in expected_weights.items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)


def test_jax_trains_it_without_tensorflow(prepared, direct):
    pytest.importorskip("jax")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(_ROOT),
    }
    result = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TENSORFLOW, str(prepared)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout.splitlines()[-1])
    finished = language_model.main(["--resume", str(prepared)])
    assert finished["validation_perplexity"] == figures["validation_perplexity"]
    records, weights = _results(prepared)
    expected_records, expected_weights = direct
    for name in ("loss", "perplexity", "val_loss", "val_perplexity"):
        np.testing.assert_allclose(
            [record[name] for record in records],
            [record[name] for record in expected_records],
            rtol=1e-3,
            err_msg=name,
        )
    for name, array in expected_weights.items():
        # Adam's steps magnify what rounding does to a small gradient.
        np.testing.assert_allclose(
            weights[name], array, atol=5e-3, err_msg=name
        )


def test_a_prepared_run_can_be_trained_where_it_is(prepared, direct):
    language_model.main(["--resume", str(prepared)])
    assert _results(prepared)[0] == direct[0]


def test_fine_tuning_drops_in_proportion_to_the_size(start, tmp_path):
    run = tmp_path / "run"
    language_model.main(
        ["--corpus", "texts.txt", "--pretrained", str(start), "--prepare"]
        + ["--validation-fraction", "0.2", "--output", str(run)]
    )
    config = json.loads((run / "config.json").read_text())
    # `tiny` has a thousandth of the weights of the scripts' model.
    assert config["dropout_multiplier"] == 0.0


def test_another_folder_is_no_prepared_run(tmp_path):
    with pytest.raises(UserError, match="no prepared run.*--prepare"):
        train_on_ids.main([str(tmp_path)])


def test_preparing_looks_for_no_rate(capsys):
    with pytest.raises(SystemExit) as stopped:
        language_model.main(
            ["--corpus", "texts.txt", "--output", "other", "--prepare"]
            + ["--find-learning-rate"]
        )
    assert stopped.value.code == 2
    assert "either --prepare or --find-learning-rate" in capsys.readouterr().err
