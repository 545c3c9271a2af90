"""What a run starts from, and where its files are looked for."""

import argparse
import os

import pytest

from trainers.task_flags import add_task_flags, with_paths_from_start

_SETTINGS = {
    "dataset": "small.csv",
    "data_dir": None,
    "pretrained": ["compact"],
    "seed": 3,
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A folder that has everything, left for another one."""
    for name in ("lm", "data", "trec6", "compact", "none", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "small.csv").touch()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


@pytest.mark.parametrize(
    "name, value",
    [
        pytest.param("dataset", "trec6", id="registered"),
        pytest.param("dataset", "tfds:trec", id="tfds"),
        pytest.param("dataset", "gone.csv", id="missing_there"),
        pytest.param("pretrained", ["compact"], id="shipped"),
        pytest.param("pretrained", ["none"], id="none"),
        pytest.param("data_dir", None, id="no_folder"),
        pytest.param("seed", 3, id="no_path"),
    ],
)
def test_names_stay(start, name, value):
    settings = _SETTINGS | {"working_folder": str(start), name: value}
    assert with_paths_from_start(settings)[name] == value


def test_relative_paths_lead_from_the_first_folder(start):
    settings = _SETTINGS | {
        "working_folder": str(start),
        "data_dir": "data",
        "pretrained": ["lm", "compact"],
    }
    found = with_paths_from_start(settings)
    assert found["dataset"] == str(start / "small.csv")
    assert found["data_dir"] == str(start / "data")
    assert found["pretrained"] == [str(start / "lm"), "compact"]
    own = with_paths_from_start(settings, given={"dataset", "seed"})
    assert own == found | {"dataset": "small.csv"}


def test_a_home_folder_is_found_from_anywhere(start, monkeypatch):
    monkeypatch.setenv("HOME", str(start))
    settings = _SETTINGS | {"working_folder": "/", "data_dir": "~/data"}
    assert with_paths_from_start(settings)["data_dir"] == str(start / "data")


def test_where_a_run_was_started_paths_stay_as_typed(start):
    settings = _SETTINGS | {"data_dir": "data", "working_folder": os.getcwd()}
    assert with_paths_from_start(settings) == settings


def test_the_shipped_model_is_the_default():
    parser = argparse.ArgumentParser()
    add_task_flags(parser)
    assert parser.parse_args([]).pretrained == ["compact"]
