"""What a tuner does with its trials."""

import types

from trainers.experiments.hypermodel import RecipeTuner
from trainers.experiments.ledger import Ledger


def test_trials_begin_with_different_seeds_and_are_told_in_order(
    tmp_path, monkeypatch
):
    measured = []

    def measure(self, trial, seed):
        measured.append((trial.trial_id, seed))
        return {"validation_error": 10.0 + seed, "seconds": 1.0}

    monkeypatch.setattr(RecipeTuner, "_measure", measure)
    # KerasTuner's own beginning would ask a search for its state.
    tuner = RecipeTuner.__new__(RecipeTuner)
    tuner.seeds = [0, 1, 2]
    tuner.hypermodel = types.SimpleNamespace(values=lambda hp: {})
    tuner.trials = Ledger(tmp_path / "trials.jsonl")
    for number in range(4):
        trial = types.SimpleNamespace(
            trial_id=f"{number:02d}", hyperparameters=None
        )
        told = tuner.run_trial(trial)
        assert [each["validation_error"] for each in told] == [10, 11, 12]
        record = tuner.trials.find(trial.trial_id)
        assert record["errors"] == [10, 11, 12]
    firsts = [seed for _, seed in measured[::3]]
    assert firsts == [0, 1, 2, 0]
    assert {seed for trial, seed in measured if trial == "01"} == {0, 1, 2}
