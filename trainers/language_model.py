"""Pretrains a language model on a corpus, or fine-tunes one.

python -m trainers.language_model --corpus wikipedia-en-2015 --output runs/lm
python -m trainers.language_model --generate "The meaning of"
"""

import argparse
import dataclasses
import logging
import math
import os
import pathlib

from trainers import command_line, stable_runs
from trainers.language_model_arguments import (
    parse_arguments,
    recipe_of,
    search_of,
)
from trainers.language_model_recipe import dropout_for
from trainers.locks import run_locked
from trainers.run_clock import RunClock

_NAME = "trainers.language_model"
_log = logging.getLogger("trainers")
# `models.generate` takes no more.
_MOST_WORDS = 10**6


def main(argv):
    arguments = parse_arguments(argv)
    command_line.check_backend()
    if arguments.generate is not None:
        return _generate(arguments)
    given = vars(arguments)
    if arguments.resume is not None:
        directory, settings = command_line.open_run(
            _NAME, None, arguments.resume, None
        )
        if "max_steps" in given:
            stable_runs.check_change(directory, settings, given["max_steps"])
    else:
        recipe = recipe_of(given)
        command_line.check_output(arguments.output)
        architecture = _check_settings(arguments)
        if "dropout_multiplier" not in given:
            recipe = dataclasses.replace(
                recipe,
                dropout_multiplier=recipe.dropout_multiplier
                * dropout_for(architecture),
            )
        settings = {**given, **dataclasses.asdict(recipe)}
        settings |= {**_absolute_paths(arguments), "arguments": argv}
        is_new_folder = not os.path.exists(arguments.output)
        directory, settings = command_line.open_run(
            _NAME, arguments.output, None, settings
        )
    if (directory / "metrics.json").exists():
        return command_line.read_json(directory / "metrics.json")["figures"]
    max_steps = given.get("max_steps") if arguments.resume else None
    try:
        with run_locked(directory), RunClock(directory) as clock:
            return _train(
                argparse.Namespace(**settings),
                directory,
                max_steps,
                clock,
                prepare=arguments.resume is None and arguments.prepare,
            )
    except command_line.USER_ERRORS:
        # The corrected command shall find its folder free.
        if arguments.resume is None and not (directory / "training").exists():
            command_line.discard_run(directory, is_new_folder)
        raise


def _train(settings, directory, max_steps, clock, prepare):
    """Trains in a run folder, prepares it, or looks for a learning rate.

    Args:
        settings: Namespace of the run's settings.
        directory: `pathlib.Path` of the run folder.
        max_steps: Other `max_steps` for a run that is resumed, or `None`.
        clock: `RunClock`.
        prepare: Bool, whether to stop before the training.
    """
    from trainers.corpus_text import prepare_corpus
    from trainers.run_options import RunOptions
    from ulmfit_tf import pretrained, training

    recipe = recipe_of(vars(settings))
    options = RunOptions.of_run(settings, directory, trains=not prepare)
    start = _load_pretrained(settings)
    corpus = prepare_corpus(settings, recipe, start, directory)
    architecture = start.architecture if start else _new_architecture(settings)
    figures = {"corpus": settings.corpus, "direction": settings.direction}
    state = directory / "training" / "training_state.npz"
    task = (architecture, corpus.tokenizer, corpus.weights, corpus.train)
    parts = (corpus.train, corpus.validation)
    if prepare:
        from trainers.train_on_ids import write_prepared

        stable_runs.check_warm_up(recipe, *parts, options)
        write_prepared(directory, architecture, corpus)
        return {**figures, "run_dir": str(directory)}
    if settings.find_learning_rate:
        from trainers.learning_rate import find_learning_rate

        plot = directory / "learning_rate.png"
        try:
            curve = find_learning_rate(*task, recipe, options, plot)
        except FloatingPointError as error:
            raise command_line.UserError(
                f"`--find-learning-rate`: {error}"
            ) from error
        figures |= {
            "steepest_learning_rate": curve.steepest,
            "minimum_tenth_learning_rate": curve.minimum_tenth,
            "learning_rate_plot": str(plot),
        }
        records = [
            {"learning_rate": rate, "loss": loss}
            for rate, loss in zip(
                curve.rates.tolist(), curve.losses.tolist(), strict=True
            )
        ]
    else:
        from trainers.language_model_card import model_card
        from trainers.language_model_stage import (
            language_model_streams,
            train_language_model,
        )

        if max_steps is not None:
            recipe = stable_runs.with_max_steps(
                directory, recipe, max_steps, *parts, options
            )
        elif not state.exists():
            stable_runs.check_warm_up(recipe, *parts, options)
        weights, records = train_language_model(
            *task, corpus.validation, recipe, directory / "training", options
        )
        model_directory = directory / settings.direction
        if not model_directory.exists():
            stream, _ = language_model_streams(*parts, recipe, options)
            tokens_per_step = corpus.train.num_tokens / stream.steps_per_epoch
            tokens = training.saved_step(state), tokens_per_step
            model = pretrained.PretrainedLanguageModel(
                architecture,
                settings.direction,
                corpus.tokenizer,
                weights,
                _curve(records, tokens_per_step),
            )
            card = model_card(
                settings,
                recipe,
                model,
                corpus,
                options,
                tokens,
                clock.seconds(),
            )
            model.save_to_preset(
                model_directory, card, settings.stored_precision
            )
        best = min(record["val_perplexity"] for record in records)
        figures |= {
            "validation_perplexity": round(best, 3),
            "language_model": str(model_directory),
        }
    figures |= {
        "seconds": clock.seconds(),
        "run_dir": str(directory),
    }
    command_line.write_json(
        directory / "metrics.json", {"figures": figures, "records": records}
    )
    return figures


def _curve(records, tokens_per_step):
    """Returns the curve of a run's reports.

    They need not be equally far apart: a stable run may have been given
    another number of steps on the way.
    """
    from ulmfit_tf import pretrained

    return tuple(
        pretrained.CurvePoint(
            tokens_per_step * record["step"] / 1e6, record["val_perplexity"]
        )
        for record in records
        # That of bad weights may be larger than any number.
        if math.isfinite(record["val_perplexity"])
    )


def _generate(settings):
    """Continues a text; the result is in reading order."""
    command_line.check_seed(settings.seed)
    if not 1 <= settings.num_words <= _MOST_WORDS:
        raise command_line.UserError(
            f"`--num-words` must lie between 1 and {_MOST_WORDS}. Received: "
            f"{settings.num_words}."
        )
    from ulmfit_tf import models

    settings.pretrained = settings.pretrained or ["compact"]
    source = _load_pretrained(settings)
    try:
        (text,) = models.generate_text(
            source.build(batch_size=1),
            source.tokenizer,
            settings.generate,
            settings.num_words,
            backward=settings.direction == "backward",
            seed=settings.seed,
            **search_of(vars(settings)),
        )
    except ValueError as error:
        raise command_line.UserError(f"`--generate`: {error}") from error
    _log.info("%s", text)
    return {
        "prompt": settings.generate,
        "direction": settings.direction,
        "text": text,
    }


def _check_settings(settings):
    """Raises `UserError` or `DataError` before a run folder is made.

    Returns:
        The `Architecture` of the model.
    """
    command_line.check_seed(settings.seed)
    if not 0 < settings.validation_fraction <= 0.5:
        raise command_line.UserError(
            "`--validation-fraction` must be above 0 and at most 0.5. "
            f"Received: {settings.validation_fraction}."
        )
    from ulmfit_tf import data

    data.corpus_files(settings.corpus, data_dir=settings.data_dir)
    corpus = pathlib.Path(settings.corpus).expanduser().resolve()
    output = pathlib.Path(settings.output).resolve()
    if "**" in corpus.parts:
        # A pattern that matches at any depth, from here down.
        corpus = corpus.parents[-corpus.parts.index("**")]
    if corpus.is_dir() and output.is_relative_to(corpus):
        raise command_line.UserError(
            f"`--output {settings.output}` lies in the folder of the corpus: "
            "the run's own files would be read as its text. Choose a folder "
            "outside of it."
        )
    architecture = _new_architecture(settings)
    start = _load_pretrained(settings)
    return start.architecture if start else architecture


def _new_architecture(settings):
    """Returns the `Architecture` of a model with new weights."""
    from ulmfit_tf import models

    if settings.sizes is not None:
        sizes = settings.sizes.split(",")
        try:
            return models.Architecture(*map(int, sizes))
        except (TypeError, ValueError) as error:
            raise command_line.UserError(
                "`--sizes` must be two or three positive integers, such as "
                f"300,512,3. Received: {settings.sizes}."
            ) from error
    if settings.preset not in models.ARCHITECTURES:
        raise command_line.UserError(
            f"`--preset` must be one of {', '.join(models.ARCHITECTURES)}. "
            f"Received: {settings.preset}."
        )
    return models.ARCHITECTURES[settings.preset]


def _absolute_paths(settings):
    """The settings that name files, so that any folder can be resumed from."""
    from ulmfit_tf import data, pretrained

    def absolute(path):
        return os.path.abspath(os.path.expanduser(path))

    paths = {}
    if settings.corpus not in data.CORPORA:
        paths["corpus"] = absolute(settings.corpus)
    if settings.data_dir is not None:
        paths["data_dir"] = absolute(settings.data_dir)
    if settings.pretrained:
        shipped = pretrained.shipped_models()
        paths["pretrained"] = [
            name if name in shipped else absolute(name)
            for name in settings.pretrained
        ]
    return paths


def _load_pretrained(settings):
    if not settings.pretrained:
        return None
    return command_line.load_language_model(
        settings.pretrained, settings.direction
    )


if __name__ == "__main__":
    command_line.run(main)
