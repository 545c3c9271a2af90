"""One classifier run: all stages, evaluation, export."""

import dataclasses
import logging
import shutil

import numpy as np
import tensorflow as tf

from serving.saved_model import export_classifier
from trainers import command_line
from trainers.evaluation import Evaluation
from trainers.report import write_predictions, write_report
from trainers.report.figures import Calibration
from trainers.report.scores import class_scores, intervals, task_scores
from trainers.rounds import Rounds
from trainers.thresholds import decided

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
    rounds = Rounds(task, recipe, settings, directory)
    trained = rounds.first()
    second, before = None, {}
    if settings.pseudo_labels:
        first = Evaluation(trained.classifier, directory, prefix="first_")
        trained = rounds.second(first)
        before = _figures_before(first, task, trained)
        second = trained.recipe, len(trained.task.train)
        notes = trained.task.dataset.notes
        dataset = dataclasses.replace(dataset, notes=notes)
    classifier = trained.classifier
    evaluation = Evaluation(classifier, directory)
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
        **before,
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
        settings={
            **vars(settings),
            **_used(settings, rounds.options),
            **_changed(recipe, trained.recipe),
        },
        records=rounds.records,
        scores=scores,
        figures=figures,
        second=second,
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
            "records": rounds.records,
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


def _changed(recipe, second_recipe):
    """Returns what is not the same for the second classifier."""
    first = dataclasses.asdict(recipe)
    return {
        f"{name}_of_the_second_classifier": value
        for name, value in dataclasses.asdict(second_recipe).items()
        if value != first[name]
    }


def _used(settings, options):
    """Returns what `auto` came to, for the report."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return {
        "precision": f"{settings.precision}: {options.policy}",
        "strategy": f"{settings.strategy}: {options.num_replicas} {kind}",
    }


def _figures_before(evaluation, task, trained):
    """Returns what pseudo-labels a run has, and its error without them.

    Not that of the test split, by which nothing should be chosen.
    """
    answers = evaluation.answers(
        "validation", task.validation_texts, task.validation_labels
    )
    return {
        "pseudo_labels": len(trained.task.train) - len(task.train),
        "validation_error_without_pseudo_labels": answers.error,
    }


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
