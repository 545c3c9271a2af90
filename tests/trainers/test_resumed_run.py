"""What a classifier run that is resumed is held against."""

import dataclasses
import shutil

import pytest

from trainers import classifier, command_line, run
from trainers.command_line import UserError
from ulmfit_tf import pretrained


@pytest.fixture
def began(wide, small_table, tmp_path, monkeypatch):
    """A run that was started with relative paths.

    Returns the arguments of each `run_classifier`.
    """
    calls = []
    monkeypatch.setattr(
        run, "run_classifier", lambda *arguments: calls.append(arguments)
    )
    shutil.copy(small_table, tmp_path / "small.csv")
    shutil.copytree(wide[1], tmp_path / "wide")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    classifier.main(
        [
            *("--dataset", "small.csv", "--pretrained", "wide"),
            *("--output", "run", "--epochs", "4"),
        ]
    )
    return calls


def test_it_finds_its_files_from_another_folder(began, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "elsewhere")
    classifier.main(["--resume", "../run"])
    (first, *_), (second, _, settings, *_) = began
    assert first.fingerprint == second.fingerprint
    assert first.dataset.train_texts == second.dataset.train_texts
    # They are reported as they were typed.
    assert settings.dataset == "small.csv"
    assert settings.pretrained == ["wide"]


@pytest.mark.parametrize("version", [None, 0, 99])
def test_a_run_of_another_release_is_not_gone_on_with(began, version):
    settings = command_line.read_json("run/config.json")
    del settings["run_version"]
    if version is not None:
        settings["run_version"] = version
    command_line.write_json("run/config.json", settings)
    with pytest.raises(UserError, match="another release of this project"):
        classifier.main(["--resume", "run"])
    assert len(began) == 1
    assert command_line.read_json("run/config.json") == settings


def test_another_pretrained_model_in_its_place_is_told(wide, began, tmp_path):
    model = pretrained.load_pretrained([str(tmp_path / "wide")])
    name = max(model.weights, key=lambda name: model.weights[name].size)
    changed = {**model.weights, name: model.weights[name] + 0.1}
    shutil.rmtree(tmp_path / "wide")
    dataclasses.replace(model, weights=changed).save_to_preset(
        tmp_path / "wide"
    )
    with pytest.raises(UserError, match=r"pretrained language model \(wide\)"):
        classifier.main(["--resume", "run"])
    shutil.rmtree(tmp_path / "wide")
    shutil.copytree(wide[1], tmp_path / "wide")
    classifier.main(["--resume", "run"])
    assert len(began) == 2
