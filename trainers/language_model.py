"""Pretrains a language model on a corpus, or fine-tunes one.

python -m trainers.language_model --corpus wikipedia-en-2015 --output runs/lm
"""

import argparse
import dataclasses
import hashlib
import json
import logging
import time

from trainers import command_line

_log = logging.getLogger("trainers")
_FEWEST_TOKENS = 100
_RANGES = {
    "seed": (0, 2**32 - 1),
    "max_steps": (0, 10**9),
    "sample_size": (0, 10**9),
    "vocabulary_size": (16, 10**9),
    "decay_factor": (1e-3, 1e3),
    "dropout_multiplier": (0.0, 3.9),
    "learning_rate": (0.0, 10.0),
}
_ADVICE = (
    "Leave `--max-steps` out to continue the run as it was started, or start "
    "a new run from its language model with `--pretrained`."
)


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m trainers.language_model",
        usage="%(prog)s --corpus NAME_OR_PATH --output DIR [flags]",
        description="Pretrains an AWD-LSTM language model on a corpus.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--corpus", help="registered name, file, folder or glob of texts")
    add("--output", help="new run folder")
    add("--resume", metavar="DIR", help="run folder to continue")
    add("--data-dir", help="where registered corpora are looked for")
    add("--text-column", default="text", help="column of CSV, TSV, JSONL")
    add("--preset", default="compact", help="compact or paper")
    add(
        "--direction",
        default="forward",
        choices=("forward", "backward"),
    )
    add("--pretrained", nargs="+", help="fine-tune this language model")
    add("--vocabulary-size", type=int, default=20000, help="words at most")
    add("--min-frequency", type=int, default=3)
    add("--validation-fraction", type=float, default=0.005)
    add("--epochs", type=int, default=1)
    add("--max-steps", type=int, help="0, unless given: no limit")
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=0.004)
    add("--decay-factor", type=float, default=1.0)
    add(
        "--schedule",
        default="slanted",
        choices=("slanted", "stable"),
        help="slanted triangle, or warm-up, constant rate and a fall over the "
        "last fifth, whose --max-steps may be changed by --resume",
    )
    add(
        "--dropout-multiplier",
        type=float,
        default=0.5,
        help="times the rates of language model fine-tuning",
    )
    add(
        "--sample-size",
        type=int,
        default=2048,
        help="words of the sampled softmax; 0 for the full softmax",
    )
    add(
        "--tokenizer",
        default="word",
        choices=("word", "sentencepiece"),
        help="without a pretrained model, which brings its own",
    )
    add("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    add("--strategy", default="auto", choices=("auto", "none", "mirrored"))
    add("--seed", type=int, default=0)
    add(
        "--checkpoint-seconds",
        type=float,
        default=120.0,
        help="time between saved training states",
    )
    arguments = parser.parse_args(argv)
    command_line.refuse_other_flags(parser, argv, allowed=("--max-steps",))
    if arguments.resume is None:
        for needed in ("corpus", "output"):
            if getattr(arguments, needed) is None:
                parser.error(f"--{needed} is needed, unless with --resume")
        arguments.max_steps = arguments.max_steps or 0
    return arguments


def main(argv):
    arguments = parse_arguments(argv)
    if arguments.resume is None:
        command_line.check_output(arguments.output)
        _check_settings(arguments)
    directory, settings = command_line.open_run(
        "trainers.language_model",
        arguments.output,
        arguments.resume,
        vars(arguments),
    )
    max_steps = None if arguments.resume is None else arguments.max_steps
    if max_steps is not None:
        _check_change(directory, settings, max_steps)
    settings = argparse.Namespace(**settings)
    if (directory / "metrics.json").exists():
        return command_line.read_json(directory / "metrics.json")["figures"]
    started = time.monotonic()

    from trainers.language_model_stage import (
        LanguageModelRecipe,
        train_language_model,
    )
    from trainers.run_options import RunOptions
    from ulmfit_tf import models, pretrained

    start = _load_pretrained(settings)
    tokenizer, train, validation = _prepare_text(settings, start, directory)
    for name, part in (("train", train), ("validation", validation)):
        if part.num_tokens < _FEWEST_TOKENS:
            raise command_line.UserError(
                f"The {name} part of the corpus has {part.num_tokens} tokens "
                f"in {len(part)} documents; at least {_FEWEST_TOKENS} are "
                "needed. Use more text or a larger `--validation-fraction`."
            )
    architecture = (
        start.architecture if start else models.ARCHITECTURES[settings.preset]
    )
    vocabulary_size = len(tokenizer.vocabulary)
    _log.info(
        "%s tokens to train on, %s to validate on, %s words",
        f"{train.num_tokens:,}",
        f"{validation.num_tokens:,}",
        f"{vocabulary_size:,}",
    )
    fields = {f.name for f in dataclasses.fields(LanguageModelRecipe)}
    recipe = LanguageModelRecipe(
        **{k: v for k, v in vars(settings).items() if k in fields}
    )
    if recipe.sample_size >= vocabulary_size:
        recipe = dataclasses.replace(recipe, sample_size=0)
    options = RunOptions.from_settings(settings)
    if max_steps is not None:
        recipe = _with_max_steps(
            directory,
            recipe,
            max_steps,
            train,
            validation,
            options.num_replicas,
        )
    weights, records = train_language_model(
        architecture,
        vocabulary_size,
        start and start.weights,
        train,
        validation,
        recipe,
        directory / "training",
        options,
    )
    model = pretrained.PretrainedLanguageModel(
        architecture, settings.direction, tokenizer, weights
    )
    model_directory = directory / settings.direction
    if not model_directory.exists():
        model.save_to_preset(model_directory)
    figures = {
        "corpus": settings.corpus,
        "direction": settings.direction,
        "validation_perplexity": round(records[-1]["val_perplexity"], 3),
        "seconds": round(time.monotonic() - started, 1),
        "run_dir": str(directory),
        "language_model": str(model_directory),
    }
    command_line.write_json(
        directory / "metrics.json", {"figures": figures, "records": records}
    )
    return figures


def _check_change(directory, settings, max_steps):
    """Raises `UserError` if a run cannot be given other `max_steps`."""
    _check_range("max_steps", max_steps)
    schedule = settings.get("schedule")
    if schedule != "stable":
        raise command_line.UserError(
            "`--max-steps` beside `--resume` needs a run of `--schedule "
            f"stable`. This one has `{schedule}`, whose rates up to here "
            f"would have been others. {_ADVICE}"
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
    config = directory / "config.json"
    command_line.write_json(
        config, {**command_line.read_json(config), "max_steps": max_steps}
    )
    return changed


def _check_range(name, value):
    low, high = _RANGES[name]
    if not low <= value <= high:
        raise command_line.UserError(
            f"`--{name.replace('_', '-')}` must lie between {low} and "
            f"{high}. Received: {value}."
        )


def _check_settings(settings):
    """Raises `UserError` or `DataError` before a run folder is made."""
    positive = ("min_frequency", "epochs", "batch_size")
    for name in positive:
        if getattr(settings, name) < 1:
            raise command_line.UserError(
                f"`--{name.replace('_', '-')}` must be at least 1. "
                f"Received: {getattr(settings, name)}."
            )
    for name in _RANGES:
        _check_range(name, getattr(settings, name))
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


def _prepare_text(settings, start, directory):
    """Returns the tokenizer and the tokenized training and held-out text."""
    from trainers.task_text import new_tokenizer
    from ulmfit_tf import data, text
    from ulmfit_tf.data.download import default_cache_dir
    from ulmfit_tf.data.token_cache import cached_corpus

    corpus = {"name_or_path": settings.corpus, "data_dir": settings.data_dir}
    files = data.corpus_files(**corpus)
    identity = data.fingerprint(files)

    def documents():
        return data.iter_documents(**corpus, text_column=settings.text_column)

    cache = default_cache_dir() / "corpora"
    # The run keeps its tokenizer: ids must mean the same when it is resumed.
    own = directory / "tokenizer"
    if start is not None:
        tokenizer = start.tokenizer
    elif (own / "tokenizer.json").exists():
        tokenizer = text.load_tokenizer(own)
    else:
        _log.info("learning the vocabulary")
        tokenizer = new_tokenizer(
            settings.tokenizer,
            documents(),
            settings.vocabulary_size,
            settings.min_frequency,
        )
        text.save_tokenizer(tokenizer, own)
    every = max(2, round(1 / settings.validation_fraction))
    key = _digest(
        identity,
        settings.corpus if settings.corpus in data.CORPORA else None,
        settings.text_column,
        text.RULES_VERSION,
        type(tokenizer).__name__,
        getattr(tokenizer, "lowercase", None),
        tokenizer.vocabulary.fingerprint(),
        every,
    )
    _log.info("text cache: %s", cache / key)

    def part(held_out):
        def texts():
            for index, document in enumerate(documents()):
                if (index % every == every - 1) == held_out:
                    yield document

        name = "validation" if held_out else "training"
        _log.info("tokenizing the %s text, unless it is cached", name)
        return cached_corpus(cache / key / name, key, texts, tokenizer)

    return tokenizer, part(False), part(True)


def _digest(*parts):
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


if __name__ == "__main__":
    command_line.run(main)
