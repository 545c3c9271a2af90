"""All trainings of a classifier run, and what they leave in its folder."""

import dataclasses
import logging

import numpy as np

from trainers import command_line
from trainers.evaluation import Evaluation
from trainers.projector import write_projector
from trainers.pseudo_labels import texts_to_read, with_pseudo_labels
from trainers.recipes import fitted_to_task, recipe_for
from trainers.run_options import RunOptions
from trainers.stages import (
    fine_tune_classifier,
    fine_tune_language_model,
    starting_weights,
    trained_classifier,
)
from ulmfit_tf.whole_files import write_arrays

_log = logging.getLogger("trainers")


class Rounds:
    """Trains a run's classifiers: one, and with pseudo-labels another.

    Whatever a killed run has finished is read from the folder.

    Args:
        task: `Task`.
        recipe: `Recipe`.
        settings: Namespace of the command line's other settings.
        directory: `pathlib.Path` of the run folder.

    Attributes:
        records: Dict of the stages' logs, see `report.learning`.
    """

    def __init__(self, task, recipe, settings, directory):
        self.task = task
        self.recipe = recipe
        self.settings = settings
        self.directory = directory
        self.options = RunOptions.of_run(settings, directory)
        self.records: dict[str, list] = {}
        self._encoders: dict[str, dict | None] = {}

    def first(self):
        """Returns the `TrainedClassifier` of the task's own labels."""
        weights = {}
        for direction in self.task.directions:
            self.records |= _stage_one(self.task, direction)
            encoder = starting_weights(self.task, direction)
            if self.recipe.language_model_epochs:
                encoder = self._run(
                    "language_model",
                    direction,
                    fine_tune_language_model,
                    (self.task, self.recipe),
                )
            self._encoders[direction] = encoder
            weights[direction] = self._stage_three(
                "classifier", direction, self.task, self.recipe
            )
        return trained_classifier(
            self.task, self.recipe, weights, self.settings.seed
        )

    def second(self, classifier):
        """Trains stage three again, with a classifier's answers for labels.

        Args:
            classifier: `TrainedClassifier`, what `first` returned.

        Returns:
            `(classifier, task, recipe)`: the new one, and what it was trained
            on and by.
        """
        texts = texts_to_read(
            self.task.dataset,
            self.task.validation_texts,
            self.settings.pseudo_labels,
            self.settings.seed,
        )
        probabilities = first_evaluation(
            classifier, self.directory
        ).probabilities("unlabelled", texts)
        task = with_pseudo_labels(
            self.task, texts, probabilities, self.settings.pseudo_labels
        )
        pretrained = self.settings.pretrained != ["none"]
        recipe = fitted_to_task(
            recipe_for(
                self.settings.dataset, self.settings.overrides, pretrained
            ),
            self.settings.dataset,
            self.settings.overrides,
            task,
            pretrained,
        )
        weights = {
            direction: self._stage_three(
                "second_classifier", direction, task, recipe
            )
            for direction in task.directions
        }
        return (
            trained_classifier(task, recipe, weights, self.settings.seed),
            task,
            recipe,
        )

    def _stage_three(self, name, direction, task, recipe):
        weights = self._run(
            name,
            direction,
            fine_tune_classifier,
            (task, recipe, self._encoders[direction]),
        )
        write_projector(
            self.directory / direction / name / "logs" / "train",
            weights["embedding"],
            task.tokenizer.vocabulary,
            task.corpus.token_ids,
        )
        return weights

    def _run(self, name, direction, train, arguments):
        """Runs a stage of a direction once and keeps its result on disk."""
        directory = self.directory / direction
        result = directory / f"{name}.npz"
        log = directory / f"{name}.json"
        if result.exists():
            _log.info("%s %s: done before", direction, name)
            with np.load(result, allow_pickle=False) as file:
                weights = {key: file[key] for key in file.files}
            records = command_line.read_json(log)
        else:
            options = dataclasses.replace(self.options, direction=direction)
            weights, records = train(*arguments, directory / name, options)
            command_line.write_json(log, records)
            write_arrays(result, weights)
            # Some hundred megabytes that nobody reads any more.
            for file in ("training_state.npz", "best_weights.npz"):
                (directory / name / file).unlink(missing_ok=True)
        self.records[f"{direction}_{name}"] = records
        return weights


def first_evaluation(classifier, directory):
    """Returns the `Evaluation` of the classifier before pseudo-labels."""
    return Evaluation(classifier, directory, prefix="first_")


def _stage_one(task, direction):
    """Returns the records of a direction's pretraining, if it has any."""
    model = task.language_models[direction]
    if model is None or not model.curve:
        return {}
    points = [dataclasses.asdict(point) for point in model.curve]
    return {f"{direction}_pretraining": points}
