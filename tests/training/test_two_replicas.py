"""Two replicas train as one does on the same batches."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).with_name("two_replicas.py")
REPOSITORY = SCRIPT.parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("replicas") / "results.json"
    environment = dict(os.environ)
    environment |= {"PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        [sys.executable, SCRIPT, path],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(path.read_text())


def assert_same(one, other, rtol):
    assert one["generated"] == other["generated"]
    for kind in ("weights", "averages"):
        assert one[kind].keys() == other[kind].keys()
        for name, array in one[kind].items():
            array = np.array(array)
            np.testing.assert_allclose(
                other[kind][name],
                array,
                rtol=rtol,
                atol=rtol * np.abs(array).max(),
                err_msg=f"{kind} {name}",
            )
    for record, theirs in zip(one["records"], other["records"], strict=True):
        assert theirs == pytest.approx(record, rel=rtol)


def test_language_model(results):
    """Each replica carries the states of its own rows."""
    one, two = results["language_model_one"], results["language_model_two"]
    assert_same(one, two, 1e-4)


def test_classifier(results):
    """Batch norm sees the statistics of the whole batch."""
    assert_same(results["classifier_one"], results["classifier_two"], 1e-4)


@pytest.mark.parametrize("name", ["two", "dropped"])
def test_training_on_two_replicas_can_be_killed_and_resumed(results, name):
    whole = results[f"language_model_{name}"]
    resumed = "resumed" if name == "two" else f"{name}_resumed"
    assert_same(whole, results[f"language_model_{resumed}"], 1e-6)


def test_each_replica_drops_out_by_itself(results):
    masks = np.array(results["masks"])
    assert masks.shape == (2, 2, 2, 3, 100)
    # By draw and replica; a text's mask is one for all of its timesteps.
    different = masks[:, :, :, 0].reshape(8, 100)
    assert len(np.unique(different, axis=0)) == 8
