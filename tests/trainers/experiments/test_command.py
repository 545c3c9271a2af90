import dataclasses
import json
import pathlib
import types

import numpy as np
import pytest

from trainers import ablation, hardware
from trainers.command_line import UserError
from trainers.experiments.command import Experiment
from trainers.experiments.notes import (
    notes_of_tasks,
    scratch_note,
    task_notes,
)
from trainers.recipes import recipe_for
from ulmfit_tf import models
from ulmfit_tf.data.token_cache import TokenizedCorpus

_FULL_FILE = (
    pathlib.Path(__file__).parents[3] / "docs/results/trec6_best_recipe.json"
)


def _experiment(tmp_path, *flags):
    argv = ["--dataset", "trec6", *flags, "--output", str(tmp_path / "run")]
    return Experiment("trainers.ablation", ablation.parse_arguments(argv), argv)


def _task(documents):
    corpus = TokenizedCorpus(
        np.zeros(10 * documents, "int32"), 10 * np.arange(documents + 1)
    )
    return types.SimpleNamespace(
        train=corpus,
        corpus=corpus,
        architecture=models.ARCHITECTURES["compact"],
        fewest_epochs=lambda method: 5,
    )


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["--recipe", str(_FULL_FILE)], id="file"),
        pytest.param(["--learning-rate", "0.02", "--epochs", "3"], id="flags"),
    ],
)
def test_what_is_set_for_the_method_leaves_the_baseline_as_it_is(
    flags, tmp_path
):
    experiment = _experiment(tmp_path, *flags)
    scratch = experiment.recipe(from_scratch=True)
    assert scratch == recipe_for("trec6", {}, pretrained=False)
    few = experiment.fitted(scratch, _task(50), from_scratch=True)
    assert few.epochs > 40
    assert experiment.recipe() != recipe_for("trec6", {})


def test_a_file_with_all_fields_gives_those_that_are_not_the_data_sets(
    tmp_path,
):
    experiment = _experiment(tmp_path, "--recipe", str(_FULL_FILE))
    assert experiment.overrides == {
        "decay_factor": 1.71429,
        "language_model_decay_factor": 2.6,
    }
    # So few labels still get more epochs.
    fitted = experiment.fitted(experiment.recipe(), _task(50))
    assert fitted.epochs == 50 and fitted.decay_factor == 1.71429
    # And so small a model less dropout than the defaults.
    assert fitted.language_model_dropout == fitted.encoder_dropout == 0.23


def test_dropouts_that_were_given_stay(tmp_path):
    flags = ["--encoder-dropout", "1", "--language-model-dropout", "1"]
    experiment = _experiment(tmp_path, *flags)
    fitted = experiment.fitted(experiment.recipe(), _task(50))
    assert fitted.language_model_dropout == fitted.encoder_dropout == 1.0
    scratch = experiment.recipe(from_scratch=True)
    assert experiment.fitted(scratch, _task(50), True).encoder_dropout == 1.0


def test_what_is_read_and_answered_is_the_same_for_all(tmp_path):
    flags = ["--validation-fraction", "0.2", "--pooled-length", "700"]
    scratch = _experiment(tmp_path, *flags).recipe(from_scratch=True)
    assert (scratch.validation_fraction, scratch.pooled_length) == (0.2, 700)


def test_a_baseline_s_file_does_not_change_what_is_read(tmp_path):
    file = tmp_path / "scratch.json"
    file.write_text('{"validation_fraction": 0.2, "learning_rate": 0.003}')
    experiment = _experiment(tmp_path, "--scratch-recipe", str(file))
    scratch = experiment.recipe(from_scratch=True)
    assert (
        scratch.validation_fraction == experiment.recipe().validation_fraction
    )
    assert scratch.learning_rate == 0.003


def test_a_baseline_s_file_with_all_fields_gives_all_of_them(tmp_path):
    """Those as well that are the default, which a size would change."""
    file = tmp_path / "scratch.json"
    recipe = recipe_for("trec6", {"dropout": 0.5}, pretrained=False)
    file.write_text(json.dumps(dataclasses.asdict(recipe)))
    experiment = _experiment(tmp_path, "--scratch-recipe", str(file))
    scratch = experiment.recipe(from_scratch=True)
    fitted = experiment.fitted(scratch, _task(50), from_scratch=True)
    assert fitted.dropout == 0.5
    assert (fitted.batch_size, fitted.epochs) == (64, recipe.epochs)


def test_a_resumed_experiment_keeps_its_number_format(tmp_path, monkeypatch):
    """Two of them in one table would compare machines."""
    here = iter(["mixed_bfloat16", "float32"])
    monkeypatch.setattr(hardware, "dtype_policy", lambda _: next(here))
    first = _experiment(tmp_path)
    first.open()
    run = str(tmp_path / "run")
    argv = ["--resume", run]
    again = Experiment(
        "trainers.ablation", ablation.parse_arguments(argv), argv
    )
    assert again.options(3, "backward").policy == "mixed_bfloat16"
    again.open()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["policy"], config["replicas"]) == ("mixed_bfloat16", 1)
    config["replicas"] = 2
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(hardware, "dtype_policy", lambda _: "float32")
    other = Experiment(
        "trainers.ablation", ablation.parse_arguments(argv), argv
    )
    with pytest.raises(UserError, match="started on 2 device"):
        other.open()


def test_what_is_to_know_of_the_data_stands_below_the_table(tmp_path):
    experiment = _experiment(tmp_path)
    subset = "a subset of 18,278 of the 120,000 texts"
    # No test text is looked at.
    copies = "9 of the 500 test texts of `trec6` are training texts as well"
    held_out = [f"{count} of the 545 validation texts" for count in (3, 5)]
    notes = [(subset, copies, each) for each in held_out]
    experiment.task = lambda seed: (
        types.SimpleNamespace(dataset=types.SimpleNamespace(notes=notes[seed])),
        None,
    )
    assert notes_of_tasks(experiment, range(2)) == [
        subset,
        f"Seed 0: {held_out[0]}",
        f"Seed 1: {held_out[1]}",
    ]
    assert task_notes(experiment, notes[:1]) == [subset, held_out[0]]


def test_that_the_best_epoch_was_taken_stands_below_the_table(tmp_path):
    experiment = _experiment(tmp_path, "--early-stopping", "2")
    (note,) = task_notes(experiment, [()])
    assert "--early-stopping" in note and "flatter" in note


def test_the_baseline_takes_a_recipe_of_its_own(tmp_path):
    file = tmp_path / "scratch.json"
    file.write_text('{"learning_rate": 0.003}')
    flags = ["--scratch-recipe", str(file), "--learning-rate", "0.1"]
    experiment = _experiment(tmp_path, *flags)
    assert experiment.recipe(from_scratch=True).learning_rate == 0.003
    assert experiment.recipe().learning_rate == 0.1
    assert "learning_rate 0.003" in scratch_note(experiment)
    file.write_text(json.dumps({"rate": 1}))
    with pytest.raises(UserError, match="--scratch-recipe .* no field `rate`"):
        _experiment(tmp_path, *flags)


def test_the_baseline_has_the_pretrained_models_sizes(
    wide, small_table, tmp_path
):
    architecture, folder = wide
    flags = ["--dataset", str(small_table), "--pretrained", str(folder)]
    experiment = _experiment(tmp_path, *flags)
    task, _ = experiment.task(0, from_scratch=True)
    assert task.architecture == architecture
    assert task.language_models == {"forward": None}
    assert "1 layers, 40 hidden and 8 embedding" in scratch_note(experiment)
    experiment = _experiment(tmp_path, *flags, "--preset", "tiny")
    task, _ = experiment.task(0, from_scratch=True)
    assert task.architecture == models.ARCHITECTURES["tiny"]
    assert "--preset tiny" in scratch_note(experiment)


def test_a_run_finds_its_files_from_another_folder(
    wide, small_table, tmp_path, monkeypatch
):
    (tmp_path / "small.csv").write_bytes(small_table.read_bytes())
    (tmp_path / "wide").symlink_to(wide[1])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    flags = ["--dataset", "small.csv", "--pretrained", "wide"]
    experiment = _experiment(tmp_path, *flags)
    task, _ = experiment.task(0)
    experiment.open(data=task.fingerprint)

    monkeypatch.chdir(tmp_path / "elsewhere")
    argv = ["--resume", "../run"]
    resumed = Experiment(
        "trainers.ablation", ablation.parse_arguments(argv), argv
    )
    ablation._Ablation(resumed)
    again, _ = resumed.task(0)
    resumed.open(data=again.fingerprint)
    assert again.language_models_fingerprint == task.language_models_fingerprint
    assert resumed.settings["pretrained"] == ["wide"]

    # A parallel worker has flags of its own, and perhaps its own copy.
    argv = [*flags[:2], "--output", "../run"]
    arguments = ablation.parse_arguments(argv)
    arguments.resume = "../run"
    worker = Experiment("trainers.ablation", arguments, argv).namespace(0)
    assert worker.dataset == "small.csv"
    assert worker.pretrained == [str(tmp_path / "wide")]


def test_what_a_run_started_with_is_checked(tmp_path):
    experiment = _experiment(tmp_path)
    experiment.settings.update(data="a", language_models="b")
    experiment.check(data="a", language_models="b")
    experiment.settings["language_models"] = "c"
    with pytest.raises(UserError, match="pretrained model has changed"):
        experiment.check(data="a", language_models="b")
