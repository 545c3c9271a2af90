"""Where a stable schedule falls, and what a run may be changed to."""

import dataclasses
import json
import types

import numpy as np
import pytest
import tensorflow as tf

from trainers import command_line, language_model_stage, stable_runs
from trainers.language_model_recipe import LanguageModelRecipe
from trainers.language_model_stage import stable_until
from trainers.run_options import RunOptions
from ulmfit_tf import models
from ulmfit_tf.data.token_cache import TokenizedCorpus

# 40 windows of 67 tokens or so in each of four streams.
TRAIN = TokenizedCorpus.from_documents([np.arange(4 * 40 * 68)])
VALIDATION = TokenizedCorpus.from_documents([np.arange(500)])
RECIPE = LanguageModelRecipe(epochs=5, batch_size=4, schedule="stable")
OPTIONS = RunOptions(
    "forward", 0, "float32", tf.distribute.get_strategy(), 120.0
)


def falls_at(**changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    return stable_until(recipe, TRAIN, VALIDATION, OPTIONS)


def test_the_rate_falls_over_the_last_fifth_of_the_steps_taken():
    # Five epochs of 40 steps.
    assert falls_at() == 160
    assert falls_at(max_steps=100) == pytest.approx(80, abs=1)
    # The epochs end before the steps do.
    assert falls_at(max_steps=1_000_000) == 160
    assert falls_at(epochs=10) == 320


@pytest.fixture
def run_at(tmp_path):
    """Makes the folder of a run that is at a step."""

    def make(step):
        header = json.dumps({"step": step}).encode()
        (tmp_path / "training").mkdir()
        np.savez(
            tmp_path / "training" / "training_state.npz",
            header=np.frombuffer(header, "uint8"),
        )
        config = {"schedule": "stable", "max_steps": 0}
        command_line.write_json(tmp_path / "config.json", config)
        return tmp_path

    return make


def change(directory, max_steps):
    return stable_runs.with_max_steps(
        directory, RECIPE, max_steps, TRAIN, VALIDATION, OPTIONS
    )


@pytest.fixture
def short_warm_up(monkeypatch):
    monkeypatch.setattr(language_model_stage, "WARM_UP_STEPS", 50)


@pytest.mark.usefixtures("short_warm_up")
@pytest.mark.parametrize("max_steps", [0, 150, 200])
def test_a_run_in_its_constant_part_may_be_changed(run_at, max_steps):
    directory = run_at(110)
    assert change(directory, max_steps).max_steps == max_steps
    config = command_line.read_json(directory / "config.json")
    assert config == {"schedule": "stable", "max_steps": max_steps}


def test_a_run_may_not_fall_before_it_has_risen(run_at):
    directory = run_at(10)
    before = (directory / "config.json").read_bytes()
    with pytest.raises(command_line.UserError, match="rises for 200 steps"):
        change(directory, 150)
    assert (directory / "config.json").read_bytes() == before


@pytest.mark.usefixtures("short_warm_up")
@pytest.mark.parametrize(
    "step, max_steps, expected",
    [
        pytest.param(
            110, 10_000, "`--epochs 5`, which are 200 steps", id="too_many"
        ),
        pytest.param(110, 100, "step 110; changed so, ", id="too_few"),
        # Without a limit of its own the run falls from step 160 on.
        pytest.param(
            161, 10_000, "step 161; as it was started, its rate", id="falling"
        ),
    ],
)
def test_a_run_whose_rate_has_fallen_may_not(run_at, step, max_steps, expected):
    directory = run_at(step)
    before = (directory / "config.json").read_bytes()
    with pytest.raises(command_line.UserError, match=expected):
        change(directory, max_steps)
    assert (directory / "config.json").read_bytes() == before


def test_a_new_run_must_be_longer_than_its_warm_up():
    """Its rate would fall before it has risen, and never be the one given."""
    parts = (TRAIN, VALIDATION, OPTIONS)
    # Of 200 steps the last 40 lower the rate.
    with pytest.raises(command_line.UserError, match="from step 160 on"):
        stable_runs.check_warm_up(RECIPE, *parts)
    longer = dataclasses.replace(RECIPE, epochs=7)
    stable_runs.check_warm_up(longer, *parts)
    other = dataclasses.replace(RECIPE, schedule="slanted")
    stable_runs.check_warm_up(other, *parts)


class Told(Exception):
    """Ends a training before it begins."""


@pytest.mark.parametrize(
    "changes, unit",
    [({}, "epoch"), ({"steps_per_report": 20}, "report")],
    ids=["whole", "parts"],
)
def test_a_part_of_an_epoch_is_called_a_report(
    changes, unit, tmp_path, monkeypatch
):
    def progress(*arguments, **options):
        raise Told(options["unit"])

    monkeypatch.setattr(language_model_stage, "Progress", progress)
    with pytest.raises(Told, match=f"^{unit}$"):
        language_model_stage.train_language_model(
            models.Architecture(3, 4, 1),
            types.SimpleNamespace(vocabulary=range(TRAIN.num_tokens)),
            None,
            TRAIN,
            VALIDATION,
            dataclasses.replace(RECIPE, **changes),
            tmp_path,
            OPTIONS,
        )
