"""Pretrains a language model on a corpus, or fine-tunes one.

python -m trainers.language_model --corpus wikipedia-en-2015 --output runs/lm
python -m trainers.language_model --generate "The meaning of"
"""

import argparse
import dataclasses
import logging
import shutil
import time

from trainers import command_line
from trainers.language_model_arguments import (
    parse_arguments,
    recipe_of,
    search_of,
)

_NAME = "trainers.language_model"
_log = logging.getLogger("trainers")
_ADVICE = (
    "Leave `--max-steps` out to continue the run as it was started, or start "
    "a new run from its language model with `--pretrained`."
)


def main(argv):
    arguments = parse_arguments(argv)
    if arguments.generate is not None:
        return _generate(arguments)
    given = vars(arguments)
    if arguments.resume is not None:
        directory, saved = command_line.open_run(
            _NAME, None, arguments.resume, None
        )
        if "max_steps" in given:
            _check_change(directory, {**given, **saved}, given["max_steps"])
        settings = {**given, **saved}
    else:
        settings = {**given, **dataclasses.asdict(recipe_of(given))}
        command_line.check_output(arguments.output)
        _check_settings(arguments)
        directory, settings = command_line.open_run(
            _NAME, arguments.output, None, settings
        )
    if (directory / "metrics.json").exists():
        return command_line.read_json(directory / "metrics.json")["figures"]
    max_steps = given.get("max_steps") if arguments.resume else None
    try:
        return _train(argparse.Namespace(**settings), directory, max_steps)
    except command_line.USER_ERRORS:
        # The corrected command shall find its folder free.
        if arguments.resume is None and not (directory / "training").exists():
            shutil.rmtree(directory)
        raise


def _train(settings, directory, max_steps):
    """Trains in a run folder, or looks for a learning rate.

    Args:
        settings: Namespace of the run's settings.
        directory: `pathlib.Path` of the run folder.
        max_steps: Other `max_steps` for a run that is resumed, or `None`.
    """
    started = time.monotonic()

    from trainers.corpus_text import prepare_corpus
    from trainers.run_options import RunOptions
    from ulmfit_tf import models, pretrained

    recipe = recipe_of(vars(settings))
    options = RunOptions.from_settings(settings)
    start = _load_pretrained(settings)
    corpus = prepare_corpus(settings, recipe, start, directory)
    architecture = (
        start.architecture if start else models.ARCHITECTURES[settings.preset]
    )
    figures = {"corpus": settings.corpus, "direction": settings.direction}
    task = (architecture, corpus.tokenizer, corpus.weights, corpus.train)
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
        from trainers.language_model_stage import train_language_model

        if max_steps is not None:
            recipe = _with_max_steps(
                directory,
                recipe,
                max_steps,
                corpus.train,
                corpus.validation,
                options,
            )
        weights, records = train_language_model(
            *task, corpus.validation, recipe, directory / "training", options
        )
        model_directory = directory / settings.direction
        if not model_directory.exists():
            pretrained.PretrainedLanguageModel(
                architecture, settings.direction, corpus.tokenizer, weights
            ).save_to_preset(model_directory)
        best = min(record["val_perplexity"] for record in records)
        figures |= {
            "validation_perplexity": round(best, 3),
            "language_model": str(model_directory),
        }
    figures |= {
        "seconds": round(time.monotonic() - started, 1),
        "run_dir": str(directory),
    }
    command_line.write_json(
        directory / "metrics.json", {"figures": figures, "records": records}
    )
    return figures


def _generate(settings):
    """Continues a text; the result is in reading order."""
    command_line.check_seed(settings.seed)
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


def _check_change(directory, settings, max_steps):
    """Raises `UserError` if a run cannot be given other `max_steps`."""
    # Checks the range.
    recipe = dataclasses.replace(recipe_of(settings), max_steps=max_steps)
    if recipe.schedule != "stable":
        raise command_line.UserError(
            "`--max-steps` beside `--resume` needs a run of `--schedule "
            f"stable`. This one has `{recipe.schedule}`, whose rates up to "
            f"here would have been others. {_ADVICE}"
        )
    if (directory / "metrics.json").exists():
        raise command_line.UserError(
            f"`--max-steps {max_steps}`: the run is finished, and its rate "
            f"has fallen. {_ADVICE}"
        )


def _with_max_steps(directory, recipe, max_steps, *parts):
    """Gives a run other `max_steps`, which must not change steps done."""
    from trainers.language_model_stage import stable_until
    from ulmfit_tf import training

    state = directory / "training" / "training_state.npz"
    done = training.saved_step(state) if state.exists() else 0
    changed = dataclasses.replace(recipe, max_steps=max_steps)
    for each, name in ((recipe, "as it was started"), (changed, "changed so")):
        falls = stable_until(each, *parts)
        if done > falls:
            raise command_line.UserError(
                f"`--max-steps {max_steps}`: the run is at step {done}; "
                f"{name}, its rate falls from step {falls} on. {_ADVICE}"
            )
    if max_steps:
        _check_epochs(changed, max_steps, *parts)
    config = directory / "config.json"
    command_line.write_json(
        config, {**command_line.read_json(config), "max_steps": max_steps}
    )
    return changed


def _check_epochs(recipe, max_steps, train, validation, options):
    """Raises if a run's epochs end before the steps asked for."""
    from trainers.language_model_stage import language_model_streams

    stream, _ = language_model_streams(train, validation, recipe, options)
    steps = recipe.epochs * stream.steps_per_epoch
    if max_steps > steps:
        raise command_line.UserError(
            f"`--max-steps {max_steps}`: the run was started with `--epochs "
            f"{recipe.epochs}`, which are {steps} steps. Give at most as "
            f"many. {_ADVICE}"
        )


def _check_settings(settings):
    """Raises `UserError` or `DataError` before a run folder is made."""
    command_line.check_seed(settings.seed)
    if not 0 < settings.validation_fraction <= 0.5:
        raise command_line.UserError(
            "`--validation-fraction` must be above 0 and at most 0.5. "
            f"Received: {settings.validation_fraction}."
        )
    from ulmfit_tf import data, models

    data.corpus_files(settings.corpus, data_dir=settings.data_dir)
    if settings.preset not in models.ARCHITECTURES:
        raise command_line.UserError(
            f"`--preset` must be one of {', '.join(models.ARCHITECTURES)}. "
            f"Received: {settings.preset}."
        )
    _load_pretrained(settings)


def _load_pretrained(settings):
    from ulmfit_tf import pretrained

    if not settings.pretrained:
        return None
    try:
        return pretrained.load_pretrained(
            settings.pretrained, settings.direction
        )
    except ValueError as error:
        raise command_line.UserError(f"`--pretrained`: {error}") from error


if __name__ == "__main__":
    command_line.run(main)
