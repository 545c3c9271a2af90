"""KerasTuner's oracles, made so that a search can be killed at any time."""

import json
import os

import keras_tuner
import numpy as np
from keras_tuner import oracles

from trainers.experiments.space import rounded
from ulmfit_tf.whole_files import written_whole

NAMES = ("random", "bayesian", "hyperband", "grid")
_COMPLETED = "COMPLETED"
# Hyperband's own is 3; fine-tuning takes so few epochs that shorter trials
# than a third of them hardly thaw every layer.
_REDUCTION = 2


class _Resumable:
    """What KerasTuner 1.4 lacks to lose or repeat no trial.

    Its files are written in place, so that a kill can tear them; a trial that
    was handed out and one that was not yet, or one that has just ended, are
    told apart only by the order of two writes. The first trial has the
    default values.
    """

    def save(self):
        _write(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial):
        path = os.path.join(self._get_trial_dir(trial.trial_id), "trial.json")
        _write(path, trial.get_state())

    def reload(self):
        super().reload()
        # What was not handed out yet is drawn again, with the same values.
        self.trials = {
            trial_id: self.trials[trial_id] for trial_id in self.start_order
        }
        # A trial that failed runs again: one that diverged counts as completed.
        completed = {
            trial_id
            for trial_id, trial in self.trials.items()
            if trial.status == _COMPLETED
        }
        self.end_order = [each for each in self.end_order if each in completed]
        ended = set(self.end_order)
        self.end_order += [
            trial_id
            for trial_id in self.trials
            if trial_id in completed and trial_id not in ended
        ]
        # KerasTuner takes the last one first.
        self._retry_queue = [
            trial_id
            for trial_id in reversed(self.start_order)
            if trial_id not in completed
        ]

    @property
    def is_saved(self):
        """Whether there is a search in the folder to go on with."""
        return os.path.exists(self._get_oracle_fname())

    def _random_values(self):
        if not self.trials:
            return {hp.name: hp.default for hp in self.get_space().space}
        return super()._random_values()


class _Random(_Resumable, oracles.RandomSearchOracle):
    pass


class _Bayesian(_Resumable, oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id):
        # Not the generator's state but the trial decides what is drawn, so
        # that a search that was resumed draws the same.
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        response = super().populate_space(trial_id)
        if self._was_tried(response["values"]):
            # The process takes the same end of an interval again and again.
            return self._random_populate_space()
        return response

    def _was_tried(self, values):
        """Whether a trial has the same values, as a recipe has them."""
        if values is None:
            return False
        return _as_in_recipes(values) in [
            _as_in_recipes(trial.hyperparameters.values)
            for trial in self.trials.values()
        ]

    def _vector_to_values(self, vector):
        # Of 1 KerasTuner makes a whole number above the highest.
        return super()._vector_to_values(np.minimum(vector, 1 - 1e-9))

    def _vectorize_trials(self):
        # KerasTuner guesses what running trials will come to before it fits
        # the process to those that are done: a new one says 0, the best there
        # is, so that all workers would search around the same point.
        ongoing, self.ongoing_trials = self.ongoing_trials, {}
        trials, running = self.trials, set(ongoing.values())
        self.trials = {k: t for k, t in trials.items() if t not in running}
        try:
            if running:
                self.gpr.fit(*super()._vectorize_trials())
        finally:
            self.ongoing_trials, self.trials = ongoing, trials
        return super()._vectorize_trials()


class _Hyperband(_Resumable, oracles.HyperbandOracle):
    """Tries only brackets that come to an end within `max_trials`.

    A bracket's first round has its shortest trials: a search that stopped in
    it would have nothing but those. The last bracket has long trials alone.
    """

    def __init__(self, *, max_trials, min_epochs, **kwargs):
        super().__init__(factor=_REDUCTION, **kwargs)
        self.max_trials = max_trials
        self.min_epochs = min_epochs
        # Which brackets there are depends on `min_epochs`.
        self._current_bracket = self._largest_bracket(max_trials)
        self._brackets = []
        self._start_new_bracket()

    @property
    def fewest_trials(self):
        """Int, trials of the smallest search that promotes any."""
        is_halving = self._get_num_brackets() > 1
        return self._bracket_size(1) if is_halving else 1

    def _increment_bracket_num(self):
        promised = sum(
            self._bracket_size(bracket["bracket_num"])
            - sum(map(len, bracket["rounds"]))
            for bracket in self._brackets
        )
        left = self.max_trials - len(self.trials) - promised
        super()._increment_bracket_num()
        self._current_bracket = min(
            self._current_bracket, self._largest_bracket(left)
        )

    def _largest_bracket(self, trials):
        number = self._get_num_brackets() - 1
        while number > 0 and self._bracket_size(number) > trials:
            number -= 1
        return number

    def _bracket_size(self, number):
        rounds = range(self._get_num_rounds(number))
        return sum(self._get_size(number, each) for each in rounds)


class _Grid(_Resumable, keras_tuner.Oracle):
    """Takes points in their order; KerasTuner's own grid cannot be resumed."""

    def __init__(self, *, points, **kwargs):
        super().__init__(**kwargs)
        self.points = points

    def populate_space(self, trial_id):
        if len(self.trials) >= len(self.points):
            return {"status": "STOPPED", "values": None}
        return {"status": "RUNNING", "values": self.points[len(self.trials)]}


def new_oracle(name, max_trials, seed, points, max_epochs, min_epochs):
    """Returns an oracle that minimizes `validation_error`.

    Args:
        name: One of `NAMES`.
        max_trials: Int.
        seed: Int.
        points: List of dicts, the grid's.
        max_epochs: Int, Hyperband's longest trials.
        min_epochs: Int, Hyperband's shortest trials.
    """
    common = {
        "objective": keras_tuner.Objective("validation_error", "min"),
        "max_trials": max_trials,
        # KerasTuner takes 0 for no seed.
        "seed": seed + 1,
    }
    if name == "random":
        oracle = _Random(**common)
    elif name == "bayesian":
        oracle = _Bayesian(**common)
    elif name == "grid":
        oracle = _Grid(points=points, **common)
    else:
        oracle = _Hyperband(
            max_epochs=max_epochs, min_epochs=min_epochs, **common
        )
    # What it prints of a trial's end fails where another process began it.
    oracle.verbose = 0
    return oracle


def _as_in_recipes(values):
    return {
        name: rounded(value) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _write(path, content):
    with written_whole(path) as beside:
        beside.write_text(json.dumps(content))
