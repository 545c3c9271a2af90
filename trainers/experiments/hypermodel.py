"""The recipe as a KerasTuner `HyperModel`, and the tuner that runs it."""

import dataclasses
import logging
import time

import keras_tuner
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from trainers.experiments import space
from trainers.experiments.cells import Cell
from trainers.stages import untrained_classifier

_log = logging.getLogger("trainers")
# What the oracle is told of a seed that diverged, in per cent: a failed trial
# would be lost to it, and three in a row would end the search.
_WORST_ERROR = 100.0
_PAUSE_SECONDS = 0.5


class RecipeHyperModel(keras_tuner.HyperModel):
    """A recipe with some of its fields to be tuned.

    `build` makes the classifier of a trial, `fit` runs the recipe's stages
    with their callbacks, as `trainers.classifier --seed` does.

    Args:
        cells: `Cells`.
        tasks: Callable from a seed to its `Task` and `Recipe`.
        options: Callable from a seed to its `RunOptions`.
        point: Dict of the values to start from, see `space.defaults`.
        fields: Dict of the fields to tune, see `space.searched`.
    """

    def __init__(self, cells, tasks, options, point, fields):
        super().__init__()
        self.cells = cells
        self.tasks = tasks
        self.options = options
        self.point = point
        self.fields = fields
        # KerasTuner's `build` has no argument for it.
        self.seed = 0

    def values(self, hp):
        """Returns the fields of the recipe that a trial sets."""
        values = space.declare(hp, self.point, self.fields)
        if "tuner/epochs" in hp.values:
            # Hyperband: every trial begins anew, because a slanted triangle
            # cannot be made longer afterwards.
            values["epochs"] = int(hp.values["tuner/epochs"])
        return values

    def recipe(self, hp):
        """Returns the recipe of a trial's hyperparameters."""
        _, recipe = self.tasks(self.seed)
        return dataclasses.replace(recipe, **self.values(hp))

    def build(self, hp):
        recipe = self.recipe(hp)
        task, _ = self.tasks(self.seed)
        return untrained_classifier(task, recipe, self.options(self.seed))

    def fit(self, hp, model, *args, **kwargs):
        task, _ = self.tasks(self.seed)
        cell = Cell(task, self.recipe(hp), self.options(self.seed))
        return self.cells.measure(cell, model)


class RecipeTuner(keras_tuner.Tuner):
    """Runs each trial with several seeds, and tells TensorBoard.

    Args:
        oracle: See `oracles.new_oracle`.
        hypermodel: `RecipeHyperModel`.
        seeds: Iterable of ints.
        logs: Folder of TensorBoard logs.
        trials: `Ledger` of the trials, by their id.
        **kwargs: See `keras_tuner.Tuner`.
    """

    def __init__(self, oracle, hypermodel, seeds, logs, trials, **kwargs):
        self.seeds = list(seeds)
        self.logs = logs
        self.trials = trials
        super().__init__(oracle, hypermodel, **kwargs)
        if self._is_worker():
            return
        if oracle.is_saved:
            oracle.reload()
        else:
            oracle.save()

    def pre_create_trial(self):
        """Leaves the chief alone between two requests for work.

        KerasTuner asks again at once where Hyperband has none to give yet.
        """
        if self._is_worker():
            time.sleep(_PAUSE_SECONDS)

    def save(self):
        # The tuner has no state; what the oracle has, the oracle's process
        # saves.
        if not self._is_worker():
            self.oracle.save()

    def run_trial(self, trial, *args, **kwargs):
        try:
            by_seed = {
                seed: self._measure(trial, seed)
                for seed in self._seeds_of(trial)
            }
        except Exception as error:
            # KerasTuner would go on without the trial.
            raise keras_tuner.errors.FatalError(
                f"A trial failed: {error}"
            ) from error
        records = [by_seed[seed] for seed in self.seeds]
        if self.trials.find(trial.trial_id) is None:
            self.trials.append(
                {
                    "key": trial.trial_id,
                    "values": self.hypermodel.values(trial.hyperparameters),
                    "errors": [each["validation_error"] for each in records],
                }
            )
        return [_figures(record) for record in records]

    def _seeds_of(self, trial):
        """Returns the seeds, beginning with another one than the next trial.

        Parallel workers then fine-tune the language models of several seeds
        instead of waiting for the same one.
        """
        first = int(trial.trial_id) % len(self.seeds)
        return self.seeds[first:] + self.seeds[:first]

    def _measure(self, trial, seed):
        self.hypermodel.seed = seed
        hp = trial.hyperparameters
        _log.info(
            "trial %d of at most %d, seed %d: %s",
            int(trial.trial_id) + 1,
            self.oracle.max_trials,
            seed,
            ", ".join(
                f"{name} {value}"
                for name, value in self.hypermodel.values(hp).items()
            ),
        )
        record = self.hypermodel.fit(hp, self.hypermodel.build(hp))
        self._log(trial, seed, _figures(record))
        return record

    def _log(self, trial, seed, result):
        name = f"trial_{trial.trial_id}/seed_{seed}"
        values = self.hypermodel.values(trial.hyperparameters)
        writer = tf.summary.create_file_writer(str(self.logs / name))
        with writer.as_default(step=0):
            hparams.hparams({**values, "seed": seed}, trial_id=name)
            for key, value in result.items():
                tf.summary.scalar(key, value)
        writer.close()


def _figures(record):
    """What the oracle and TensorBoard are told of a cell."""
    error = record["validation_error"]
    return {
        "validation_error": _WORST_ERROR if error is None else error,
        "seconds": record["seconds"],
    }
