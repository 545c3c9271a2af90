"""Trains a ULMFiT classifier: language model, classifier, export.

python -m trainers.classifier --dataset trec6
"""

import argparse
import dataclasses
import os
import time

from trainers import command_line
from trainers.recipes import Recipe, fitted_to_size, recipe_for

_NAME = "trainers.classifier"


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m trainers.classifier",
        usage="%(prog)s --dataset NAME_OR_PATH [flags]",
        description="Trains a text classifier with ULMFiT and exports it.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", help="registered name, tfds:NAME, file or folder")
    add("--data-dir", help="where data is looked for first")
    add("--text-column", help="column of a CSV, TSV or JSONL file")
    add(
        "--label-column",
        action="append",
        metavar="NAME",
        help="column of a CSV, TSV or JSONL file; with --multi-label also "
        "several columns of 0 and 1: a,b,c",
    )
    add(
        "--multi-label",
        action="store_true",
        help="a text has any number of labels",
    )
    add(
        "--label-separator",
        default="|",
        help="between the labels of one column, with --multi-label",
    )
    add(
        "--pretrained",
        nargs="+",
        default=["compact"],
        metavar="NAME_OR_DIR",
        help="language model to start from, or none",
    )
    add(
        "--preset",
        help="sizes, with --pretrained none; compact, unless given",
    )
    add(
        "--direction",
        default="forward",
        choices=("forward", "backward"),
        help="which way to read, without --bidirectional",
    )
    add("--bidirectional", action="store_true", help="average both ways")
    add(
        "--test-fraction",
        type=float,
        default=0.1,
        help="held out for the test of data without a test split; 0: none",
    )
    add("--num-labels", type=int, help="use that many labels only")
    add(
        "--tokenizer",
        choices=("word", "sentencepiece"),
        help="with --pretrained none; word, unless given",
    )
    add("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    add("--strategy", default="auto", choices=("auto", "none", "mirrored"))
    add("--seed", type=int, default=0)
    add("--output", help="new run folder; default runs/DATASET-TIME")
    add("--resume", metavar="DIR", help="run folder to continue")
    add(
        "--checkpoint-seconds",
        type=float,
        default=120.0,
        help="time between saved training states",
    )
    fields = parser.add_argument_group("recipe (default: the data set's)")
    for field in dataclasses.fields(Recipe):
        fields.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=field.type,
            default=argparse.SUPPRESS,
        )
    arguments = parser.parse_args(argv)
    command_line.refuse_other_flags(parser, argv)
    if arguments.resume is None and arguments.dataset is None:
        parser.error("--dataset is needed, unless with --resume")
    if "none" in arguments.pretrained and len(arguments.pretrained) > 1:
        parser.error("--pretrained takes names and folders, or none alone")
    _set_of_new_model(parser, arguments, "preset", "compact")
    _set_of_new_model(parser, arguments, "tokenizer", "word")
    return arguments


def _set_of_new_model(parser, arguments, name, default):
    """Sets a default, or ends if a pretrained model leaves no choice."""
    if getattr(arguments, name) is None:
        setattr(arguments, name, default)
    elif arguments.pretrained != ["none"]:
        parser.error(
            f"--{name} is for a model from scratch; a pretrained one brings "
            "its own. Add --pretrained none, or leave it out"
        )


def main(argv):
    arguments = parse_arguments(argv)
    given = vars(arguments)
    fields = {f.name for f in dataclasses.fields(Recipe)}
    overrides = {k: v for k, v in given.items() if k in fields}
    recipe = recipe_for(
        arguments.dataset,
        overrides,
        pretrained=arguments.pretrained != ["none"],
    )
    if arguments.output is None and arguments.resume is None:
        name = os.path.basename(os.path.normpath(arguments.dataset))
        moment = time.strftime("%Y%m%d-%H%M%S")
        arguments.output = os.path.join("runs", f"{name}-{moment}")
    if arguments.resume is None:
        command_line.check_output(arguments.output)
    directory, settings = None, given
    if arguments.resume is not None:
        directory, settings = command_line.open_run(
            _NAME, None, arguments.resume, None
        )
        if (directory / "metrics.json").exists():
            return command_line.read_json(directory / "metrics.json")["figures"]
        try:
            recipe = Recipe(**settings["recipe"])
        except (KeyError, TypeError) as error:
            raise command_line.UserError(
                f"`--resume {arguments.resume}`: its config.json is not one "
                f"that this release writes: {error}. Start a new run."
            ) from error

    # Keras and TensorFlow take seconds to import; a mistyped name does not
    # wait for them.
    dataset = _load_dataset(argparse.Namespace(**settings))
    from trainers.preparation import prepare_task
    from trainers.run import run_classifier

    task = prepare_task(dataset, recipe, argparse.Namespace(**settings))
    if directory is None:
        recipe = fitted_to_size(
            recipe,
            arguments.dataset,
            overrides,
            len(task.train),
            task.corpus.num_tokens,
        )
        directory, settings = command_line.open_run(
            _NAME,
            arguments.output,
            None,
            {
                **given,
                "recipe": dataclasses.asdict(recipe),
                "data": task.fingerprint,
            },
        )
    elif settings["data"] != task.fingerprint:
        raise command_line.UserError(
            f"`--resume {arguments.resume}`: the data set is not the one the "
            "run was started with: its texts, labels or words differ. Put "
            "the old data back, or start a new run."
        )
    return run_classifier(
        task, recipe, argparse.Namespace(**settings), directory
    )


def _load_dataset(settings):
    command_line.check_seed(settings.seed)
    from ulmfit_tf import data

    dataset = data.load_dataset(
        settings.dataset,
        data_dir=settings.data_dir,
        text_column=settings.text_column,
        label_column=settings.label_column,
        test_fraction=settings.test_fraction,
        seed=settings.seed,
        multi_label=settings.multi_label,
        label_separator=settings.label_separator,
    )
    if settings.num_labels is not None:
        dataset = dataset.limit_labels(settings.num_labels, seed=settings.seed)
    return dataset


if __name__ == "__main__":
    command_line.run(main)
