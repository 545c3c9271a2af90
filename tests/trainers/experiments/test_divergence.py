"""What becomes of training that diverges: a result, and no traceback."""

import csv
import json
import time

import numpy as np
import pytest

from trainers import ablation, classifier, command_line, stages, tune
from trainers.command_line import UserError
from trainers.experiments import cells
from ulmfit_tf import models

# KerasTuner names threads in an old way.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def flags(small_table, tmp_path):
    return [
        *("--dataset", str(small_table), "--precision", "float32"),
        *("--pretrained", "none", "--preset", "tiny", "--oracle", "grid"),
        *("--max-trials", "5", "--output", str(tmp_path / "run")),
    ]


def _rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_a_sweep_records_what_diverges_and_goes_on(
    flags, tmp_path, fast_stages
):
    # Three trials in a row diverge, one of them with one seed of two.
    fast_stages(
        lambda recipe, seed: (
            recipe.decay_factor > 3 or (recipe.decay_factor, seed) == (2.6, 1)
        )
    )
    figures = tune.main([*flags, "--seeds", "2"])
    assert figures["trials"] == 5
    rows = _rows(tmp_path / "run" / "trials.csv")
    factors = [float(row["decay_factor"]) for row in rows]
    assert len(factors) == 5 and factors.index(2.6) == len(factors) - 4
    assert min(factors[-3:]) > 3
    best, half, *lost = rows
    assert best["seeds"] == "2" and "diverged" not in best["errors"]
    kept, mark = half["errors"].split()
    assert mark == "diverged" and half["seeds"] == "1"
    assert float(half["mean"]) == pytest.approx(float(kept), rel=1e-3)
    assert [row["errors"] for row in lost] == ["diverged diverged"] * 3
    assert all(row["mean"] == "" for row in lost)
    assert figures["decay_factor"] == float(best["decay_factor"])
    table = (tmp_path / "run" / "trials.md").read_text()
    assert "have read the validation texts, without their labels" in table
    # Going on trains nothing again.
    before = (tmp_path / "run" / "cells.jsonl").read_text()
    again = tune.main(["--resume", str(tmp_path / "run")])
    assert again["trials"] == 5
    assert (tmp_path / "run" / "cells.jsonl").read_text() == before


def test_a_sweep_in_which_all_diverges_says_so(flags, tmp_path, fast_stages):
    fast_stages(lambda recipe, seed: True)
    with pytest.raises(UserError, match="Every trial diverged"):
        tune.main([*flags, "--seeds", "1"])
    assert len(_rows(tmp_path / "run" / "trials.csv")) == 5


def test_a_users_mistake_in_a_trial_is_told_as_one(
    flags, fast_stages, monkeypatch
):
    def mistaken(*_):
        raise UserError("what was wrong")

    fast_stages()
    monkeypatch.setattr(cells, "fine_tune_classifier", mistaken)
    with pytest.raises(UserError, match="what was wrong"):
        tune.main([*flags, "--seeds", "1"])


def test_a_stage_two_that_diverges_is_trained_once(
    small_table, tiny_language_models, tmp_path, fast_stages, monkeypatch
):
    fast_stages()
    begun = []

    def diverge(task, recipe, directory, options):
        begun.append(options.seed)
        time.sleep(0.3)
        raise FloatingPointError("stage two is not finite")

    monkeypatch.setattr(cells, "fine_tune_language_model", diverge)
    run = tmp_path / "run"
    with pytest.raises(UserError, match="Every trial diverged"):
        tune.main(
            [
                *("--dataset", str(small_table), "--precision", "float32"),
                *("--pretrained", str(tiny_language_models), "--seeds", "1"),
                *("--oracle", "grid", "--max-trials", "3"),
                *("--output", str(run)),
            ]
        )
    assert begun == [0]
    records = [
        json.loads(line)
        for line in (run / "cells.jsonl").read_text().splitlines()
    ]
    assert len(records) == 3
    assert all("stage two" in record["diverged"] for record in records)
    # Its time counts, though nothing came of it.
    assert all(each["language_model_seconds"] >= 0.2 for each in records)


def test_a_row_of_an_ablation_that_diverges_keeps_its_other_seeds(
    small_table, tiny_language_models, tmp_path, fast_stages
):
    fast_stages(lambda recipe, seed: recipe.ratio == 1 and seed == 0)
    ablation.main(
        [
            *("--dataset", str(small_table), "--precision", "float32"),
            *("--pretrained", str(tiny_language_models)),
            *("--rows", "full+discr,freez+discr+stlr", "--seeds", "2"),
            *("--output", str(tmp_path / "run")),
        ]
    )
    table = {
        row["row"]: row for row in _rows(tmp_path / "run" / "ablation.csv")
    }
    assert table["full+discr"]["errors"].startswith("diverged ")
    assert table["full+discr"]["seeds"] == "1"
    assert table["freez+discr+stlr"]["seeds"] == "2"
    notes = (tmp_path / "run" / "ablation.md").read_text()
    assert "have read the validation texts, without their labels" in notes
    assert "1 layers, 8 hidden and 8 embedding units" in notes
    assert "FROM_SCRATCH" in notes


def test_stage_three_that_diverges_ends_in_one_message(
    small_table, tmp_path, monkeypatch, caplog, capsys
):
    original = stages.train_classifier

    def poisoned(*args):
        arguments = list(args)
        size, units = arguments[1], arguments[0].embedding_units
        arguments[4] = {"embedding": np.full((size, units), np.nan, "float32")}
        return original(*arguments)

    monkeypatch.setattr(stages, "train_classifier", poisoned)
    monkeypatch.setattr(
        models, "set_weights", _set_those_given(models.set_weights)
    )
    output = tmp_path / "run"
    with pytest.raises(SystemExit) as ended:
        command_line.run(
            classifier.main,
            [
                *("--dataset", str(small_table), "--precision", "float32"),
                *("--pretrained", "none", "--preset", "tiny"),
                *("--language-model-epochs", "0", "--epochs", "1"),
                *("--output", str(output)),
            ],
        )
    assert ended.value.code == 2
    message = caplog.text + capsys.readouterr().err
    # At once, not after the last epoch.
    assert "at step 1: the training has diverged" in message
    assert "Lower the learning rate" in message
    assert "Traceback" not in message
    assert not (output / "metrics.json").exists()


def _set_those_given(set_weights):
    def set_some(variables, arrays):
        set_weights({name: variables[name] for name in arrays}, arrays)

    return set_some


def test_a_trial_that_failed_runs_again(flags, tmp_path, fast_stages):
    fast_stages()
    tune.main([*flags, "--seeds", "1"])
    run_dir = tmp_path / "run"
    lines = (run_dir / "trials.jsonl").read_text().splitlines()
    failed = [json.loads(line)["key"] for line in lines[1:4]]
    kept = [line for line in lines if json.loads(line)["key"] not in failed]
    (run_dir / "trials.jsonl").write_text("\n".join(kept) + "\n")
    for key in failed:
        path = run_dir / "search" / f"trial_{key}" / "trial.json"
        trial = json.loads(path.read_text())
        path.write_text(json.dumps({**trial, "status": "FAILED"}))
    assert tune.main(["--resume", str(run_dir)])["trials"] == 5
