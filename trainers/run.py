"""One classifier run: all stages, evaluation, export."""

import dataclasses
import logging
import shutil

import numpy as np
import tensorflow as tf

from serving.saved_model import export_classifier
from trainers import command_line
from trainers.projector import write_projector
from trainers.recipes import tokens_to_read
from trainers.report import Predictions, write_predictions, write_report
from trainers.report.figures import Calibration
from trainers.report.scores import class_scores, intervals, task_scores
from trainers.run_options import RunOptions
from trainers.stages import (
    fine_tune_classifier,
    fine_tune_language_model,
    starting_weights,
    trained_classifier,
)
from trainers.thresholds import decided
from ulmfit_tf.whole_files import write_arrays

_log = logging.getLogger("trainers")
# Validation texts whose answers the export is checked with, and how much of
# each: it is read several times, alone and beside others.
_SAMPLES = 16
_SAMPLE_CHARACTERS = 20_000


def run_classifier(task, recipe, settings, directory, clock):
    """Trains, evaluates and exports a classifier in its run folder.

    Whatever a killed run has finished is read from the folder.

    Args:
        task: `Task`.
        recipe: `Recipe`.
        settings: Namespace of the command line's other settings.
        directory: `pathlib.Path` of the run folder.
        clock: `RunClock`.

    Returns:
        Dict of the run's final figures.
    """
    _remove_unfinished(directory)
    dataset = task.dataset
    _log.info(
        "each direction reads %s tokens in stage two and %s in stage three: "
        "`--language-model-epochs` and `--epochs` change that",
        *(
            f"{tokens:,}"
            for tokens in tokens_to_read(
                recipe, task.corpus.num_tokens, task.train.num_tokens
            )
        ),
    )
    run_options = RunOptions.of_run(settings, directory)
    weights: dict[str, dict] = {}
    records: dict[str, list] = {}
    for direction in task.directions:
        options = dataclasses.replace(run_options, direction=direction)
        records |= _stage_one(task, direction)
        stage = _Stages(directory / direction, records, direction)
        encoder = starting_weights(task, direction)
        if recipe.language_model_epochs:
            encoder = stage.run(
                "language_model",
                fine_tune_language_model,
                (task, recipe),
                options,
            )
        weights[direction] = stage.run(
            "classifier",
            fine_tune_classifier,
            (task, recipe, encoder),
            options,
        )
        write_projector(
            directory / direction / "classifier" / "logs" / "train",
            weights[direction]["embedding"],
            task.tokenizer.vocabulary,
            task.corpus.token_ids,
        )
    classifier = trained_classifier(task, recipe, weights, settings.seed)
    evaluation = _Evaluation(classifier, directory)
    on_validation = evaluation.answers(
        "validation", task.validation_texts, task.validation_labels
    )
    decision = decided(
        classifier.decision, on_validation.probabilities, on_validation.labels
    )
    classifier = dataclasses.replace(classifier, decision=decision)
    on_validation = dataclasses.replace(on_validation, decision=decision)
    if not (directory / "classifier").exists():
        classifier.save_to_preset(directory / "classifier")
    on_test = None
    if dataset.test_texts is not None:
        on_test = evaluation.answers(
            "test", dataset.test_texts, dataset.test_labels, decision
        )
    splits = [split for split in (on_validation, on_test) if split]
    scores = {split.split: task_scores(split) for split in splits}
    of_test = scores.get("test", dict.fromkeys(scores["validation"]))
    saved_model = directory / "saved_model" / "1"
    if not saved_model.exists():
        _log.info("exporting and checking the model")
        export_classifier(
            classifier,
            saved_model.parent,
            version=1,
            sample_texts=[
                each[:_SAMPLE_CHARACTERS]
                for each in task.validation_texts[:_SAMPLES]
            ],
            figures={
                f"{split}_{name}": value
                for split, of_split in scores.items()
                for name, value in of_split.items()
            },
        )
    figures = {
        "dataset": settings.dataset,
        "task_type": str(dataset.task_type),
        **{f"test_{name}": value for name, value in of_test.items()},
        "validation_error": on_validation.error,
        **_errors_of_directions(evaluation, decision, dataset, task),
        "seconds": clock.seconds(),
        "run_dir": str(directory),
        "saved_model": str(saved_model),
    }
    for split in splits:
        write_predictions(
            directory / f"{split.split}_predictions.csv",
            split,
            dataset.classes,
            decision.label_separator,
        )
    _log.info("report: reading its texts again with words left out")
    write_report(
        directory / "report.html",
        classifier=classifier,
        validation=on_validation,
        test=on_test,
        dataset=dataset,
        recipe=recipe,
        settings={**vars(settings), **_used(settings, run_options)},
        records=records,
        scores=scores,
        figures=figures,
    )
    command_line.write_json(
        directory / "metrics.json",
        {
            "figures": figures,
            "scores": scores,
            "intervals": {
                split.split: _intervals(split, scores[split.split])
                for split in splits
            },
            "expected_calibration_errors": {
                split.split: _calibration_error(split) for split in splits
            },
            "classes": {
                split.split: class_scores(split, dataset.classes)
                for split in splits
            },
            "records": records,
        },
    )
    return figures


def _intervals(predictions, scores):
    """95 % intervals of a split's scores, in per cent."""
    return {
        name: [round(100 * float(bound), 4) for bound in bounds]
        for name, bounds in intervals(predictions).items()
        if name in scores
    }


def _calibration_error(predictions):
    error = Calibration.of(predictions).expected_error
    return None if np.isnan(error) else round(100 * error, 4)


def _stage_one(task, direction):
    """Returns the records of a direction's pretraining, if it has any."""
    model = task.language_models[direction]
    if model is None or not model.curve:
        return {}
    points = [dataclasses.asdict(point) for point in model.curve]
    return {f"{direction}_pretraining": points}


def _used(settings, options):
    """Returns what `auto` came to, for the report."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return {
        "precision": f"{settings.precision}: {options.policy}",
        "strategy": f"{settings.strategy}: {options.num_replicas} {kind}",
    }


class _Stages:
    """Runs a direction's stages once and keeps their results on disk."""

    def __init__(self, directory, records, direction):
        self.directory = directory
        self.records = records
        self.direction = direction

    def run(self, name, train, arguments, options):
        result = self.directory / f"{name}.npz"
        log = self.directory / f"{name}.json"
        if result.exists():
            _log.info("%s %s: done before", self.direction, name)
            with np.load(result, allow_pickle=False) as file:
                weights = {key: file[key] for key in file.files}
            records = command_line.read_json(log)
        else:
            weights, records = train(*arguments, self.directory / name, options)
            command_line.write_json(log, records)
            write_arrays(result, weights)
            # Some hundred megabytes that nobody reads any more.
            for file in ("training_state.npz", "best_weights.npz"):
                (self.directory / name / file).unlink(missing_ok=True)
        self.records[f"{self.direction}_{name}"] = records
        return weights


class _Evaluation:
    """A classifier's answers on whole splits, which take long on large ones.

    Probabilities of each direction are kept in the run folder, so that none is
    read twice, and a run that is killed does not begin anew.

    Args:
        classifier: `TrainedClassifier`.
        directory: `pathlib.Path` of the run folder.
    """

    def __init__(self, classifier, directory):
        self.classifier = classifier
        self.directory = directory

    def answers(self, split, texts, labels, decision=None, directions=None):
        """Returns `Predictions`, by default of the mean of all directions."""
        probabilities = [
            self._probabilities(split, texts, direction)
            for direction in directions or self.classifier.weights
        ]
        return Predictions.judged(
            split,
            texts,
            labels,
            np.mean(probabilities, axis=0),
            decision or self.classifier.decision,
        )

    def _probabilities(self, split, texts, direction):
        path = self.directory / direction / f"{split}_probabilities.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as file:
                return file["probabilities"]
        _log.info(
            "%s: reading the %d texts of the %s split",
            direction,
            len(texts),
            split,
        )
        alone = dataclasses.replace(
            self.classifier,
            weights={direction: self.classifier.weights[direction]},
        )
        probabilities = alone.predict(texts)
        write_arrays(path, {"probabilities": probabilities})
        return probabilities


def _errors_of_directions(evaluation, decision, dataset, task):
    """Returns the test error of each direction alone, where there are two."""
    directions = list(evaluation.classifier.weights)
    if dataset.test_texts is None or len(directions) < 2:
        return {}
    errors = {}
    for direction in directions:
        own = decision
        if decision.thresholds is not None:
            # They suit the probabilities that they are chosen on.
            answers = evaluation.answers(
                "validation",
                task.validation_texts,
                task.validation_labels,
                decision,
                [direction],
            )
            own = decided(decision, answers.probabilities, answers.labels)
        answers = evaluation.answers(
            "test", dataset.test_texts, dataset.test_labels, own, [direction]
        )
        errors[f"{direction}_test_error"] = answers.error
    return errors


def _remove_unfinished(directory):
    """Removes what a killed run was writing beside its place."""
    for path in (
        *directory.glob(".classifier-*"),
        *directory.glob("saved_model/.export-*"),
    ):
        shutil.rmtree(path)
