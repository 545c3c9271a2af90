import argparse
import dataclasses

import numpy as np
import pytest

from trainers import task_flags
from trainers.experiments import cells as cells_module
from trainers.experiments.cells import Cell, Cells
from trainers.locks import Held, locked
from trainers.preparation import prepare_task
from trainers.recipes import recipe_for
from trainers.run_options import RunOptions


@pytest.fixture(scope="module")
def cell(small_table):
    parser = argparse.ArgumentParser()
    task_flags.add_task_flags(parser)
    flags = ["--dataset", str(small_table), "--precision", "float32"]
    flags += ["--pretrained", "none", "--preset", "tiny"]
    settings = parser.parse_args(flags)
    vars(settings).update(seed=0, direction="forward", bidirectional=False)
    recipe = recipe_for(
        settings.dataset,
        {"language_model_epochs": 1, "epochs": 1},
        pretrained=False,
    )
    task = prepare_task(task_flags.load_dataset(settings), recipe, settings)
    return Cell(task, recipe, RunOptions.from_settings(settings))


def _changed(cell, **recipe):
    return dataclasses.replace(
        cell, recipe=dataclasses.replace(cell.recipe, **recipe)
    )


def test_a_key_tells_what_is_trained_and_stage_two_by_itself(cell):
    assert _changed(cell).key == cell.key
    other = _changed(cell, decay_factor=3.0)
    assert other.key != cell.key
    assert other.language_model_key == cell.language_model_key
    other = _changed(cell, language_model_rate=0.001)
    assert other.language_model_key != cell.language_model_key
    assert _changed(cell, language_model_epochs=0).language_model_key is None
    seed = dataclasses.replace(cell.options, seed=1)
    other = dataclasses.replace(cell, options=seed)
    assert other.key != cell.key
    assert other.language_model_key != cell.language_model_key
    # A text less is another corpus.
    less = cell.task.corpus.select(range(len(cell.task.corpus) - 1))
    task = dataclasses.replace(cell.task, corpus=less)
    other = dataclasses.replace(cell, task=task)
    assert other.language_model_key != cell.language_model_key


def test_keys_keep_no_weights(cell):
    """An ablation has cells of all rows and seeds at the same time."""
    cell = _changed(cell)
    before = set(vars(cell))
    assert cell.key and cell.language_model_key
    assert set(vars(cell)) - before == {"key", "language_model_key"}


def test_cells_are_trained_once_and_share_stage_two(
    cell, tmp_path, monkeypatch
):
    trained = []
    for name in ("fine_tune_language_model", "fine_tune_classifier"):
        function = getattr(cells_module, name)

        def counted(*args, name=name, function=function):
            trained.append(name)
            return function(*args)

        monkeypatch.setattr(cells_module, name, counted)
    cells = Cells(tmp_path)
    record = cells.measure(cell)
    assert trained == ["fine_tune_language_model", "fine_tune_classifier"]
    # The error is that of the probabilities that are kept.
    probabilities = cells.probabilities(record)
    wrong = probabilities.argmax(axis=1) != cell.task.validation_labels
    assert record["validation_error"] == pytest.approx(100 * np.mean(wrong))
    assert Cells(tmp_path).measure(cell) == record
    other = _changed(cell, learning_rate=0.02)
    for key in (other.key, other.language_model_key):
        with locked(tmp_path / "locks" / key), pytest.raises(Held):
            Cells(tmp_path, patience=0.0).measure(other)
    assert len(trained) == 2
    cells.measure(other)
    assert trained[2:] == ["fine_tune_classifier"]
    assert not list((tmp_path / "stages").rglob("*.npz*"))


@pytest.mark.slow
def test_a_cell_that_was_killed_goes_on_to_the_same_result(
    cell, tmp_path, monkeypatch
):
    whole = Cells(tmp_path / "whole")
    expected = whole.probabilities(whole.measure(cell))

    class Killed(Exception):
        pass

    def killed(*args, **kwargs):
        raise Killed

    killed_cells = Cells(tmp_path / "killed")
    with monkeypatch.context() as patch:
        # After stage three, before its result is written down.
        patch.setattr(cells_module, "trained_classifier", killed)
        with pytest.raises(Killed):
            killed_cells.measure(cell)
    assert not killed_cells.ledger.records()
    assert list((tmp_path / "killed" / "stages").rglob("training_state.npz"))
    record = killed_cells.measure(cell)
    np.testing.assert_array_equal(killed_cells.probabilities(record), expected)
