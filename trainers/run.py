"""One classifier run: all stages, evaluation, export."""

import dataclasses
import logging
import os
import time

import numpy as np

# EXPORT
from serving.saved_model import export_classifier
from trainers import command_line, hardware
from trainers.classifier_stage import train_classifier
from trainers.language_model_stage import (
    LanguageModelRecipe,
    train_language_model,
)
from trainers.report import Predictions, write_report
from trainers.task_text import task_tokenizer, weights_for
from ulmfit_tf import models, pretrained, text, training
from ulmfit_tf.data.chunks import CHUNK_LENGTH
from ulmfit_tf.data.token_cache import TokenizedCorpus, tokenize_corpus

_log = logging.getLogger("trainers")
# Above this many words stage two samples its softmax.
_FULL_SOFTMAX_WORDS = 8192
_SAMPLE_SIZE = 2048


def check_settings(recipe, settings):
    """Raises `UserError` for what would only fail after the run began."""
    if settings.preset not in models.ARCHITECTURES:
        raise command_line.UserError(
            f"`--preset` must be one of {', '.join(models.ARCHITECTURES)}. "
            f"Received: {settings.preset}."
        )
    language_models = _load_language_models(
        settings.pretrained, _directions(settings)
    )
    architectures = {
        language_model.architecture if language_model else None
        for language_model in language_models.values()
    }
    if len(architectures) > 1:
        raise command_line.UserError(
            "`--pretrained`: the forward and the backward language model "
            "have different sizes. Give two of the same architecture."
        )
    architecture = architectures.pop() or models.ARCHITECTURES[settings.preset]
    try:
        # Groups: the embedding, each LSTM layer, the head.
        training.unfreezing_stages(
            recipe.unfreezing, architecture.num_layers + 2, recipe.epochs
        )
    except ValueError as error:
        raise command_line.UserError(f"`--unfreezing`: {error}") from error
    if recipe.pooled_length % CHUNK_LENGTH:
        raise command_line.UserError(
            f"`--pooled-length` must be a multiple of {CHUNK_LENGTH}, the "
            f"length of a chunk. Received: {recipe.pooled_length}."
        )


def run_classifier(dataset, recipe, settings, directory):
    """Trains, evaluates and exports a classifier in its run folder.

    Whatever a killed run has finished is read from the folder.

    Args:
        dataset: `TextDataset`.
        recipe: `Recipe`.
        settings: Namespace of the command line's other settings.
        directory: `pathlib.Path` of the run folder.

    Returns:
        Dict of the run's final figures.
    """
    started = time.monotonic()
    hardware.seed_everything(settings.seed)
    directions = _directions(settings)
    dataset, validation_texts, validation_labels = dataset.split_validation(
        recipe.validation_fraction, settings.seed
    )
    language_models = _load_language_models(settings.pretrained, directions)
    task_texts = [
        *dataset.train_texts,
        *validation_texts,
        *dataset.unlabelled_texts,
    ]
    first = language_models[directions[0]]
    tokenizer = task_tokenizer(
        task_texts,
        first,
        recipe.vocabulary_size,
        recipe.min_frequency,
        settings.tokenizer,
    )
    architecture = (
        first.architecture if first else models.ARCHITECTURES[settings.preset]
    )
    corpus = tokenize_corpus(task_texts, tokenizer)
    train, validation, _ = _parts(
        corpus, len(dataset.train_texts), len(validation_texts)
    )
    _log.info(
        "%s: %d texts to train on, %d to validate on, %d without a label; "
        "%s tokens, %s words, %.1f %% of the tokens unknown",
        dataset.name,
        len(train),
        len(validation),
        len(dataset.unlabelled_texts),
        f"{len(corpus.token_ids):,}",
        f"{len(tokenizer.vocabulary):,}",
        100 * np.mean(corpus.token_ids == text.UNKNOWN_ID),
    )
    policy = hardware.dtype_policy(settings.precision)
    strategy = hardware.distribution(settings.strategy)
    weights, records = {}, {}
    for direction in directions:
        options = {
            "direction": direction,
            "seed": settings.seed,
            "policy": policy,
            "strategy": strategy,
            "checkpoint_seconds": settings.checkpoint_seconds,
        }
        stage = _Stages(directory / direction, records, direction)
        language_model = language_models[direction]
        encoder = (
            weights_for(language_model, tokenizer.vocabulary)
            if language_model
            else None
        )
        if recipe.language_model_epochs:
            encoder = stage.run(
                "language_model",
                train_language_model,
                architecture,
                len(tokenizer.vocabulary),
                encoder,
                corpus,
                None,
                _language_model_recipe(
                    recipe, len(tokenizer.vocabulary), bool(language_model)
                ),
                **options,
            )
        weights[direction] = stage.run(
            "classifier",
            train_classifier,
            architecture,
            len(tokenizer.vocabulary),
            len(dataset.classes),
            encoder,
            (train, dataset.train_labels),
            (validation, validation_labels),
            recipe,
            **options,
        )
    classifier = pretrained.TrainedClassifier(
        dataset.classes,
        tokenizer,
        {
            "architecture": dataclasses.asdict(architecture),
            "head_units": recipe.head_units,
            "pooled_length": recipe.pooled_length,
            "chunk_length": CHUNK_LENGTH,
        },
        weights,
        {"dataset": dataset.name, "seed": settings.seed},
    )
    if not (directory / "classifier").exists():
        classifier.save(directory / "classifier")
    on_validation = Predictions.of(
        "validation", classifier, validation_texts, validation_labels
    )
    on_test = None
    if dataset.test_texts is not None:
        on_test = Predictions.of(
            "test", classifier, dataset.test_texts, dataset.test_labels
        )
    test_error = on_test and on_test.error
    saved_model = export_classifier(
        classifier,
        directory / "saved_model",
        sample_texts=validation_texts[:16],
        figures={
            "validation_error": on_validation.error,
            "test_error": test_error,
        },
    )
    figures = {
        "dataset": settings.dataset,
        "test_error": test_error,
        "test_accuracy": None if test_error is None else 100 - test_error,
        "validation_error": on_validation.error,
        "seconds": round(time.monotonic() - started, 1),
        "run_dir": str(directory),
        "saved_model": str(saved_model),
    }
    write_report(
        directory / "report.html",
        classifier=classifier,
        validation=on_validation,
        test=on_test,
        dataset=dataset,
        recipe=recipe,
        settings=vars(settings),
        records=records,
        figures=figures,
    )
    command_line.write_json(
        directory / "metrics.json", {"figures": figures, "records": records}
    )
    return figures


class _Stages:
    """Runs a direction's stages once and keeps their results on disk."""

    def __init__(self, directory, records, direction):
        self.directory = directory
        self.records = records
        self.direction = direction

    def run(self, name, train, *arguments, **options):
        result = self.directory / f"{name}.npz"
        log = self.directory / f"{name}.json"
        if result.exists():
            _log.info("%s %s: done before", self.direction, name)
            with np.load(result, allow_pickle=False) as file:
                weights = {key: file[key] for key in file.files}
            records = command_line.read_json(log)
        else:
            weights, records = train(
                *arguments, self.directory / name, **options
            )
            command_line.write_json(log, records)
            _write_arrays(result, weights)
        self.records[f"{self.direction}_{name}"] = records
        return weights


def _write_arrays(path, arrays):
    beside = path.with_name("partial-" + path.name)
    np.savez(beside, **arrays)
    os.replace(beside, path)


def _directions(settings):
    if settings.bidirectional:
        return ["forward", "backward"]
    return [settings.direction]


def _load_language_models(names, directions):
    """Returns the pretrained model of each direction, or `None`."""
    if names == ["none"]:
        return dict.fromkeys(directions)
    try:
        return {
            direction: pretrained.load_pretrained(names, direction)
            for direction in directions
        }
    except ValueError as error:
        raise command_line.UserError(f"`--pretrained`: {error}") from error


def _language_model_recipe(recipe, vocabulary_size, is_pretrained):
    sampled = vocabulary_size > _FULL_SOFTMAX_WORDS
    return LanguageModelRecipe(
        epochs=recipe.language_model_epochs,
        max_steps=recipe.language_model_steps,
        batch_size=recipe.language_model_batch_size,
        learning_rate=recipe.language_model_rate,
        # New weights have nothing to preserve in the lower layers.
        decay_factor=recipe.decay_factor if is_pretrained else 1.0,
        cut_frac=recipe.cut_frac,
        dropout_multiplier=recipe.language_model_dropout,
        sample_size=_SAMPLE_SIZE if sampled else 0,
    )


def _parts(corpus, *sizes):
    bounds = np.cumsum([0, *sizes, len(corpus) - sum(sizes)])
    return [
        TokenizedCorpus(corpus.token_ids, corpus.offsets[start : stop + 1])
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
    ]
