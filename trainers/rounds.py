"""All trainings of a classifier run, and what they leave in its folder."""

import dataclasses
import logging

import numpy as np

from trainers import command_line
from trainers.preparation import Task
from trainers.projector import write_projector
from trainers.pseudo_labels import texts_to_read, with_pseudo_labels
from trainers.recipes import (
    Recipe,
    fitted_to_task,
    recipe_for,
    tokens_to_read,
)
from trainers.run_options import RunOptions
from trainers.stages import (
    fine_tune_classifier,
    fine_tune_language_model,
    starting_weights,
    trained_classifier,
)
from ulmfit_tf.pretrained import TrainedClassifier
from ulmfit_tf.whole_files import write_arrays

_log = logging.getLogger("trainers")
_STAGE_TWO_FIELDS = {
    field.name
    for field in dataclasses.fields(Recipe)
    if field.name.startswith("language_model")
}


@dataclasses.dataclass(frozen=True)
class Trained:
    """A classifier and what it was trained by.

    Attributes:
        classifier: `TrainedClassifier`.
        task: `Task`.
        recipe: `Recipe`.
    """

    classifier: TrainedClassifier
    task: Task
    recipe: Recipe


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

    def first(self):
        """Returns what is `Trained` on the task's own labels."""
        _log.info(
            "each direction reads %s tokens in stage two and %s in stage "
            "three: `--language-model-epochs` and `--epochs` change that",
            *(
                f"{tokens:,}"
                for tokens in tokens_to_read(
                    self.recipe,
                    self.task.corpus.num_tokens,
                    self.task.train.num_tokens,
                )
            ),
        )
        return self._trained("classifier", self.task, self.recipe)

    def second(self, evaluation):
        """Trains stage three again, with a classifier's answers for labels.

        Args:
            evaluation: `Evaluation` of the first classifier.

        Returns:
            What is `Trained` on the task's own labels and these.
        """
        wanted = self.settings.pseudo_labels
        texts = texts_to_read(
            self.task.dataset,
            self.task.validation_texts,
            wanted,
            self.settings.seed,
        )
        task = with_pseudo_labels(
            self.task,
            texts,
            evaluation.probabilities("unlabelled", texts),
            wanted,
        )
        recipe = self._second_recipe(task)
        _log.info(
            "each direction reads %s tokens in its second training",
            f"{tokens_to_read(recipe, 0, task.train.num_tokens)[1]:,}",
        )
        return self._trained("second_classifier", task, recipe)

    def _second_recipe(self, task):
        """Returns the recipe with the epochs that more texts take.

        It is kept in the folder: a default of another release would train
        the rest differently.
        """
        kept = command_line.read_json(self.directory / "config.json")
        if "second_recipe" in kept:
            return Recipe(**kept["second_recipe"])
        pretrained = self.settings.pretrained != ["none"]
        overrides = self.settings.overrides
        # All else stays as in the first round.
        usual = recipe_for(self.settings.dataset, overrides, pretrained)
        recipe = fitted_to_task(
            dataclasses.replace(
                self.recipe, epochs=usual.epochs, batch_size=usual.batch_size
            ),
            self.settings.dataset,
            {*overrides, *_STAGE_TWO_FIELDS},
            task,
            pretrained,
        )
        command_line.record(
            self.directory, second_recipe=dataclasses.asdict(recipe)
        )
        return recipe

    def _trained(self, name, task, recipe):
        weights = {}
        for direction in task.directions:
            weights[direction] = self._run(
                name,
                direction,
                fine_tune_classifier,
                (task, recipe, self._encoder(direction)),
            )
            write_projector(
                self.directory / direction / name / "logs" / "train",
                weights[direction]["embedding"],
                task.tokenizer.vocabulary,
                task.corpus.token_ids,
            )
        return Trained(
            trained_classifier(task, recipe, weights, self.settings.seed),
            task,
            recipe,
        )

    def _encoder(self, direction):
        """Returns what stage three starts from: of stage two, if it is run."""
        self.records |= _stage_one(self.task, direction)
        if not self.recipe.language_model_epochs:
            return starting_weights(self.task, direction)
        return self._run(
            "language_model",
            direction,
            fine_tune_language_model,
            (self.task, self.recipe),
        )

    def _run(self, name, direction, train, arguments):
        """Runs a stage of a direction once and keeps its result on disk."""
        directory = self.directory / direction
        result = directory / f"{name}.npz"
        log = directory / f"{name}.json"
        if result.exists():
            if f"{direction}_{name}" not in self.records:
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


def _stage_one(task, direction):
    """Returns the records of a direction's pretraining, if it has any."""
    model = task.language_models[direction]
    if model is None or not model.curve:
        return {}
    points = [dataclasses.asdict(point) for point in model.curve]
    return {f"{direction}_pretraining": points}
