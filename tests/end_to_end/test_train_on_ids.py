"""A run prepared on one machine, trained on another, finished on the first."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from trainers import (
    hardware,
    language_model,
    language_model_stage,
    train_on_ids,
)
from trainers.command_line import UserError
from ulmfit_tf.whole_files import DamagedFile

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
    # What `auto` comes to, too.
    *("--precision", "float32"),
)
_AVERAGED = ("--averaging", "exponential", "--averaging-decay", "0.95")
_WITHOUT_TENSORFLOW = """
import runpy, sys
for name in ("tensorflow", "tensorflow_text", "tf_keras", "tensorboard"):
    sys.modules[name] = None
runpy.run_module("trainers.train_on_ids", run_name="__main__")
"""
# Comes before: the process dies in the middle of the second epoch.
_KILLED = """
import os, signal
from ulmfit_tf.training import resume
save = resume.TrainingState._save
def save_and_die(self):
    save(self)
    if len(self.records) == 1 and self.step % self.steps_per_epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
resume.TrainingState._save = save_and_die
"""


@pytest.fixture(scope="module", autouse=True)
def texts(folder):
    (folder / "texts.txt").write_text(_TEXTS)


@pytest.fixture(scope="module")
def start(folder, texts):
    """A language model to start from, so that backends start alike."""
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


def _jax(script, run):
    """Runs a script on JAX in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, str(run)],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(_ROOT),
        },
        capture_output=True,
        text=True,
        timeout=600,
    )


def _train_on_jax(run):
    """Trains a prepared run without TensorFlow; returns its figures."""
    result = _jax(_WITHOUT_TENSORFLOW, run)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def averaged_on_jax(folder, start):
    """The folder and figures of a run that JAX has trained in one piece."""
    pytest.importorskip("jax")
    run = folder / "averaged"
    _fine_tune(start, run, *_AVERAGED, "--prepare")
    return run, _train_on_jax(run)


def _trained(run):
    """What a training leaves: its records, and the weights of the best."""
    with np.load(run / "training" / "training_state.npz") as file:
        records = json.loads(file["header"].tobytes())["records"]
    with np.load(run / "training" / "best_weights.npz") as file:
        return records, {name: file[name] for name in file.files}


def _assert_close(results, expected):
    """Compares backends, which round otherwise."""
    (records, weights), (expected_records, expected_weights) = results, expected
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


def _assert_shown_in_tensorboard(run):
    """Compares the events with the records, epoch by epoch."""
    records, _ = _results(run)
    for folder, prefix in (("train", ""), ("validation", "val_")):
        (path,) = (run / "training" / "logs" / folder).iterdir()
        shown = {
            (value.tag, event.step): float(tf.make_ndarray(value.tensor))
            for event in tf.compat.v1.train.summary_iterator(str(path))
            for value in event.summary.value
        }
        assert len(shown) == 2 * len(records)
        for record in records:
            for name in ("loss", "perplexity"):
                assert shown[f"epoch_{name}", record["epoch"]] == pytest.approx(
                    record[f"{prefix}{name}"], rel=1e-5
                )


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
    # The command of the card trains to the end.
    card = (prepared / "forward" / "model_card.md").read_text()
    assert "trainers.language_model" in card and "--prepare" not in card


def test_jax_trains_it_without_tensorflow(prepared, direct):
    pytest.importorskip("jax")
    figures = _train_on_jax(prepared)
    finished = language_model.main(["--resume", str(prepared)])
    assert finished["validation_perplexity"] == figures["validation_perplexity"]
    _assert_close(_results(prepared), direct)
    _assert_shown_in_tensorboard(prepared)


def test_jax_averages_the_same_weights(averaged_on_jax, direct, start, folder):
    run, figures = averaged_on_jax
    finished = language_model.main(["--resume", str(run)])
    assert finished["validation_perplexity"] == figures["validation_perplexity"]
    _fine_tune(start, "averaged_directly", *_AVERAGED)
    expected = _results(folder / "averaged_directly")
    _assert_close(_results(run), expected)
    # The averages are other weights than those that are trained.
    for plain, averaged in zip(direct[0], expected[0], strict=True):
        assert averaged["loss"] == pytest.approx(plain["loss"], rel=1e-3)
        assert averaged["val_loss"] != pytest.approx(
            plain["val_loss"], rel=2e-3
        )


def test_killed_on_jax_and_started_again_it_is_the_same_run(
    averaged_on_jax, start, tmp_path
):
    run = tmp_path / "killed"
    _fine_tune(start, run, *_AVERAGED, "--prepare")
    result = _jax(_KILLED + _WITHOUT_TENSORFLOW, run)
    assert result.returncode == -signal.SIGKILL, result.stderr
    figures = _train_on_jax(run)
    expected_run, expected_figures = averaged_on_jax
    perplexity = "validation_perplexity"
    assert figures[perplexity] == expected_figures[perplexity]
    (records, weights), (expected_records, expected_weights) = (
        _trained(each) for each in (run, expected_run)
    )
    assert records == expected_records
    for name, array in expected_weights.items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)


def test_a_prepared_run_can_be_trained_where_it_is(prepared, direct):
    language_model.main(["--resume", str(prepared)])
    assert _results(prepared)[0] == direct[0]


@pytest.mark.parametrize(
    ("is_new", "flags", "expected"),
    # The share of the scripts' model that `tiny` is, and half of it.
    [
        (False, (), 0.00054),
        (True, (), 0.00027),
        (True, ("--dropout-multiplier", "0.3"), 0.3),
    ],
)
def test_dropouts_are_in_proportion_to_the_size(
    start, tmp_path, is_new, flags, expected
):
    run = tmp_path / "run"
    origin = ("--preset", "tiny") if is_new else ("--pretrained", str(start))
    language_model.main(
        ["--corpus", "texts.txt", *origin, *flags, "--prepare"]
        + ["--validation-fraction", "0.2", "--output", str(run)]
    )
    config = json.loads((run / "config.json").read_text())
    assert config["dropout_multiplier"] == expected


def test_preparing_leaves_the_number_format_to_the_training(
    start, tmp_path, monkeypatch
):
    monkeypatch.setattr(hardware, "has_native_bfloat16", lambda: True)
    run = tmp_path / "run"
    _fine_tune(start, run, "--prepare", "--precision", "auto")
    config = json.loads((run / "config.json").read_text())
    assert config["precision"] == "auto" and "policy" not in config


def test_preparing_refuses_a_rate_that_would_never_rise(start, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError, match="rises for 200 steps"):
        _fine_tune(
            *(start, run, "--prepare", "--schedule", "stable"),
            *("--epochs", "50", "--max-steps", "150"),
        )
    assert not run.exists()


def test_another_folder_is_no_prepared_run(tmp_path):
    with pytest.raises(UserError, match="no prepared run.*--prepare"):
        train_on_ids.main([str(tmp_path)])
    with pytest.raises(UserError, match="no prepared run"):
        train_on_ids.main(["x" * 300])


def test_ids_stay_on_disk(prepared, monkeypatch):
    ids = np.load(prepared / "train_ids.npy", mmap_mode="r")
    assert ids.dtype == np.uint16
    seen = []

    def train(architecture, tokenizer, weights, train, *arguments):
        seen.append(train)
        return {}, [{"val_perplexity": 2.0}]

    monkeypatch.setattr(language_model_stage, "train_language_model", train)
    train_on_ids.main([str(prepared)])
    (corpus,) = seen
    assert isinstance(corpus.token_ids.base, np.memmap)
    np.testing.assert_array_equal(corpus.token_ids, ids)


def test_ids_that_were_cut_short_are_named(prepared):
    path = prepared / "train_ids.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match=r"train_ids\.npy. cannot be read"):
        train_on_ids.main([str(prepared)])
    np.save(path, np.zeros(5, "uint16"))
    with pytest.raises(DamagedFile, match=r"\(5,\) ids, where \d+ are"):
        train_on_ids.main([str(prepared)])


def test_settings_that_were_cut_short_are_named(tmp_path):
    (tmp_path / "ids.npz").touch()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DamagedFile, match=r"config\.json. cannot be read"):
        train_on_ids.main([str(tmp_path)])


def test_a_run_of_another_release_is_not_trained(prepared):
    config = prepared / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "run_version": 0}))
    with pytest.raises(UserError, match="another release of this project"):
        train_on_ids.main([str(prepared)])


def test_preparing_looks_for_no_rate(capsys):
    with pytest.raises(SystemExit) as stopped:
        language_model.main(
            ["--corpus", "texts.txt", "--output", "other", "--prepare"]
            + ["--find-learning-rate"]
        )
    assert stopped.value.code == 2
    assert "either --prepare or --find-learning-rate" in capsys.readouterr().err
