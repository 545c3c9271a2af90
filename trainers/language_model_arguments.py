"""Flags of the language model command."""

import argparse
import dataclasses

from trainers import command_line
from trainers.language_model_recipe import (
    CHOICES,
    FINE_TUNING,
    PRETRAINING,
    LanguageModelRecipe,
)
from trainers.recipe_flags import add_field_flags

_SEARCHES_OF = {
    "temperature": ("top-k", "nucleus"),
    "top_k": ("top-k",),
    "top_p": ("nucleus",),
    "beam_size": ("beam",),
}
_SEARCH = ("search", *_SEARCHES_OF)
# What `dropout_for` returns for `compact`.
_COMPACT_DROPOUT = 0.23
# What a text is continued with, and a model trained.
_ALSO_OF_TRAINING = {"--pretrained", "--direction", "--seed"}


def parse_arguments(argv):
    """Returns the namespace of flags; ends with status 2 for a mistake.

    Fields of the recipe are there only if they were given.
    """
    parser = argparse.ArgumentParser(
        prog="python -m trainers.language_model",
        usage="%(prog)s --corpus NAME_OR_PATH --output DIR [flags]",
        description="Pretrains an AWD-LSTM language model on a corpus, "
        "fine-tunes one, looks for a learning rate, or generates text.",
        allow_abbrev=False,
        formatter_class=command_line.HelpFormatter,
    )
    add = parser.add_argument
    add("--corpus", help="registered name, file, folder or glob of texts")
    add("--output", help="new run folder")
    add("--resume", metavar="DIR", help="run folder to continue")
    add("--data-dir", help="where registered corpora are looked for")
    add("--text-column", default="text", help="column of CSV, TSV, JSONL")
    add("--preset", default="compact", help="compact, paper, small or tiny")
    add(
        "--sizes",
        metavar="EMBEDDING,HIDDEN,LAYERS",
        help="in place of a preset: width of the embedding and the last LSTM "
        "layer, width of the others, number of LSTM layers (3 unless given); "
        "compact is 300,512,3",
    )
    add(
        "--direction",
        default="forward",
        choices=("forward", "backward"),
        help="which way to read",
    )
    add(
        "--pretrained",
        nargs="+",
        metavar="NAME_OR_DIR",
        help="fine-tune this language model, or generate with it; none: a "
        "new one",
    )
    add(
        "--extend-vocabulary",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="beside --pretrained: add the corpus' words to a word "
        "vocabulary; they start at the mean of the known ones",
    )
    add(
        "--tokenizer",
        default="word",
        choices=("word", "sentencepiece"),
        help="without a pretrained model, which brings its own",
    )
    add(
        "--validation-fraction",
        type=float,
        default=0.005,
        help="of the text, held out to measure the perplexity",
    )
    command_line.add_run_flags(parser)
    add(
        "--stored-precision",
        default="float32",
        choices=("float32", "float16", "int8"),
        help="of the weights of the finished model: a half and a quarter of "
        "the space; `trainers.perplexity` measures what it costs",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="of the weights, masks and order, or of the generated text",
    )
    add(
        "--find-learning-rate",
        action="store_true",
        help="try growing learning rates instead of training; plots the loss",
    )
    add(
        "--prepare",
        action="store_true",
        help="stop before the training: `python -m trainers.train_on_ids` "
        "does it, on another machine, and --resume DIR goes on here",
    )
    _add_recipe(parser.add_argument_group("recipe"))
    _add_generation(parser.add_argument_group("generation"))
    arguments = parser.parse_args(argv)
    if arguments.pretrained == ["none"]:
        arguments.pretrained = None
    _check_combination(parser, arguments, argv)
    return arguments


def recipe_of(settings):
    """Returns the `LanguageModelRecipe` of a command's settings.

    Args:
        settings: Dict with `pretrained` and any fields of the recipe.
    """
    fields = {f.name for f in dataclasses.fields(LanguageModelRecipe)}
    base = FINE_TUNING if settings["pretrained"] else PRETRAINING
    given = {k: v for k, v in settings.items() if k in fields}
    return dataclasses.replace(base, **given)


def search_of(settings):
    """Returns the given arguments of `models.generate`, as a dict.

    Args:
        settings: Dict of the command's settings.
    """
    return {name: settings[name] for name in _SEARCH if name in settings}


def _add_recipe(group):
    defaults = {}
    for field in dataclasses.fields(LanguageModelRecipe):
        default = getattr(PRETRAINING, field.name)
        fine_tuning = getattr(FINE_TUNING, field.name)
        defaults[field.name] = str(default)
        if fine_tuning != default:
            defaults[field.name] += f", {fine_tuning} with --pretrained"
    # It follows the model, which is not read for `--help`.
    own, tuned = (r.dropout_multiplier for r in (PRETRAINING, FINE_TUNING))
    defaults["dropout_multiplier"] = (
        f"at most {own} and {own * _COMPACT_DROPOUT} for compact, at most "
        f"{tuned} and {tuned * _COMPACT_DROPOUT} with --pretrained"
    )
    add_field_flags(group, LanguageModelRecipe, CHOICES, defaults)


def _add_generation(group):
    add = group.add_argument
    add(
        "--generate",
        metavar="TEXT",
        help="continue a text with the --pretrained model (default compact); "
        "a backward model writes what stands before it",
    )
    add(
        "--num-words",
        type=int,
        default=50,
        help="tokens to add, punctuation and marks of capitals included",
    )
    # Their defaults are those of `models.generate`.
    for name, kind, described in (
        ("--search", str, "greedy, top-k, nucleus (default) or beam"),
        ("--temperature", float, "of top-k and nucleus, default 1"),
        ("--top-k", int, "default 50"),
        ("--top-p", float, "of nucleus, default 0.9"),
        ("--beam-size", int, "default 4"),
    ):
        add(name, type=kind, default=argparse.SUPPRESS, help=described)


def _generation_flags():
    searching = {f"--{name.replace('_', '-')}" for name in _SEARCH}
    return {"--generate", "--num-words", *searching, *_ALSO_OF_TRAINING}


def _check_search(parser, arguments):
    """Ends if a flag is none of the search's."""
    search = getattr(arguments, "search", "nucleus")
    for name, searches in _SEARCHES_OF.items():
        if name in arguments and search not in searches:
            parser.error(
                f"--{name.replace('_', '-')} is only for --search "
                f"{' or '.join(searches)}"
            )


def _check_pretrained(parser, arguments, given):
    """Ends if a flag contradicts `--pretrained`, or needs it."""
    its_own = sorted(given & {"--preset", "--sizes", "--tokenizer"})
    if arguments.pretrained and its_own:
        parser.error(
            f"{', '.join(its_own)}: a --pretrained model has its own; leave "
            "that out"
        )
    if not arguments.pretrained:
        of_it = given & {"--extend-vocabulary", "--no-extend-vocabulary"}
        if of_it:
            parser.error(f"{', '.join(sorted(of_it))}: only with --pretrained")


def _check_combination(parser, arguments, argv):
    given = {word.split("=")[0] for word in argv if word.startswith("--")}
    if arguments.generate is not None:
        if arguments.find_learning_rate:
            parser.error("give either --generate or --find-learning-rate")
        others = ", ".join(sorted(given - _generation_flags()))
        if others:
            parser.error(f"--generate trains nothing; leave out {others}")
        _check_search(parser, arguments)
        return
    if arguments.prepare and arguments.find_learning_rate:
        parser.error("give either --prepare or --find-learning-rate")
    useless = given & (_generation_flags() - _ALSO_OF_TRAINING)
    if useless:
        parser.error(f"{', '.join(sorted(useless))}: only with --generate")
    command_line.refuse_other_flags(parser, argv, allowed=("--max-steps",))
    _check_pretrained(parser, arguments, given)
    if {"--preset", "--sizes"} <= given:
        parser.error("give either --preset or --sizes")
    if arguments.resume is None:
        for needed in ("corpus", "output"):
            if getattr(arguments, needed) is None:
                parser.error(f"--{needed} is needed, unless with --resume")
