"""A run keeps its number format and its number of devices."""

import argparse
import logging
import types

import pytest

from trainers import hardware
from trainers.command_line import UserError, read_json, write_json
from trainers.run_options import RunOptions

SETTINGS = argparse.Namespace(
    direction="forward",
    seed=3,
    precision="auto",
    strategy="auto",
    checkpoint_seconds=120.0,
)


@pytest.fixture
def machine(monkeypatch):
    """Makes the machine look like another one."""

    def become(bfloat16, devices):
        monkeypatch.setattr(hardware, "has_native_bfloat16", lambda: bfloat16)
        monkeypatch.setattr(
            hardware,
            "distribution",
            lambda strategy: types.SimpleNamespace(
                num_replicas_in_sync=devices
            ),
        )

    return become


@pytest.fixture
def run(tmp_path):
    write_json(tmp_path / "config.json", {"precision": "auto"})
    return tmp_path


@pytest.mark.parametrize("bfloat16", [True, False])
def test_a_resumed_run_keeps_its_number_format(machine, run, caplog, bfloat16):
    caplog.set_level(logging.INFO)
    policy = "mixed_bfloat16" if bfloat16 else "float32"
    machine(bfloat16, devices=2)
    assert RunOptions.of_run(SETTINGS, run).policy == policy
    assert f"computing in {policy} on 2 device(s)" in caplog.text
    caplog.clear()
    machine(not bfloat16, devices=2)
    resumed = RunOptions.of_run(SETTINGS, run)
    assert (resumed.policy, resumed.num_replicas) == (policy, 2)
    assert f"started in {policy} and goes on in it" in caplog.text
    assert read_json(run / "config.json") == {
        "precision": "auto",
        "policy": policy,
        "replicas": 2,
    }


@pytest.mark.parametrize(
    "precision, policy",
    [("auto", "float32"), ("bfloat16", "mixed_bfloat16")],
)
def test_a_prepared_run_takes_the_number_format_of_where_it_begins(
    machine, run, precision, policy
):
    settings = argparse.Namespace(**{**vars(SETTINGS), "precision": precision})
    machine(True, devices=2)
    RunOptions.of_run(settings, run, trains=False)
    machine(False, devices=2)
    assert RunOptions.of_run(settings, run).policy == policy
    # From there on it stays.
    machine(True, devices=2)
    assert RunOptions.of_run(settings, run).policy == policy


def test_a_prepared_run_keeps_its_number_of_devices(machine, run):
    """Else it could be trained there, and not be finished here."""
    machine(True, devices=1)
    RunOptions.of_run(SETTINGS, run, trains=False)
    machine(True, devices=2)
    with pytest.raises(UserError, match=r"on 1 device.*would use 2"):
        RunOptions.of_run(SETTINGS, run)


def test_another_number_of_devices_is_refused(machine, run):
    machine(True, devices=2)
    RunOptions.of_run(SETTINGS, run)
    machine(True, devices=1)
    with pytest.raises(UserError, match=r"on 2 device.*would use 1"):
        RunOptions.of_run(SETTINGS, run)
