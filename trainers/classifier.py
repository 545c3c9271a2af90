"""Trains a ULMFiT classifier: language model, classifier, export.

python -m trainers.classifier --dataset trec6
"""

import argparse
import dataclasses
import os

from trainers import command_line
from trainers.locks import run_locked
from trainers.recipe_files import add_recipe_flags, recipe_overrides
from trainers.recipes import Recipe, fitted_to_task, recipe_for
from trainers.run_clock import RunClock
from trainers.task_flags import (
    add_task_flags,
    check_task_flags,
    load_dataset,
    with_paths_from_start,
)

_NAME = "trainers.classifier"


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m trainers.classifier",
        usage="%(prog)s --dataset NAME_OR_PATH [flags]",
        description="Trains a text classifier with ULMFiT and exports it.",
        allow_abbrev=False,
        formatter_class=command_line.HelpFormatter,
    )
    add_task_flags(parser)
    add = parser.add_argument
    add(
        "--direction",
        default="forward",
        choices=("forward", "backward"),
        help="which way to read, without --bidirectional",
    )
    add("--bidirectional", action="store_true", help="average both ways")
    add("--num-labels", type=int, help="use that many labels only")
    add(
        "--pseudo-labels",
        type=int,
        default=0,
        metavar="N",
        help="train stage three a second time, beside N texts without a label "
        "(at most two fifths of all there are), with the first classifier's "
        "answers for labels: the surest on 2.5 N texts that it reads",
    )
    add(
        "--seed",
        type=int,
        default=0,
        help="of the validation split, order, masks and weights",
    )
    add("--output", help="new run folder; default runs/DATASET-TIME")
    add("--resume", metavar="DIR", help="run folder to continue")
    add_recipe_flags(parser)
    arguments = parser.parse_args(argv)
    command_line.refuse_other_flags(parser, argv)
    if arguments.resume is None and arguments.dataset is None:
        parser.error("--dataset is needed, unless with --resume")
    check_task_flags(parser, arguments)
    if arguments.bidirectional and arguments.direction != "forward":
        parser.error("--bidirectional reads both ways; leave out --direction")
    if arguments.pseudo_labels < 0:
        parser.error("--pseudo-labels takes a number of texts, 0 for none")
    if arguments.pseudo_labels and arguments.multi_label:
        parser.error(
            "--pseudo-labels is for classes that exclude each other; leave it "
            "out with --multi-label"
        )
    return arguments


def main(argv):
    arguments = parse_arguments(argv)
    command_line.check_backend()
    arguments.working_folder = os.getcwd()
    given = vars(arguments)
    overrides = recipe_overrides(arguments)
    recipe = recipe_for(
        arguments.dataset,
        overrides,
        pretrained=arguments.pretrained != ["none"],
    )
    if arguments.output is not None:
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
            missing = dataclasses.asdict(recipe).keys() - settings["recipe"]
            if missing:
                # A default of today would train the rest differently.
                raise TypeError(f"its recipe lacks {sorted(missing)}")
        except (KeyError, TypeError) as error:
            raise command_line.UserError(
                f"`--resume {arguments.resume}`: its config.json is not one "
                f"that this release writes: {error}. Start a new run."
            ) from error

    # Keras and TensorFlow take seconds to import; a mistyped name does not
    # wait for them.
    found = argparse.Namespace(**with_paths_from_start(settings))
    dataset = load_dataset(found)
    from trainers.preparation import prepare_task
    from trainers.pseudo_labels import check_pseudo_labels
    from trainers.run import run_classifier

    if found.pseudo_labels:
        check_pseudo_labels(dataset)
    task = prepare_task(dataset, recipe, found)
    if directory is None:
        recipe = fitted_to_task(
            recipe,
            arguments.dataset,
            overrides,
            task,
            pretrained=arguments.pretrained != ["none"],
        )
        if arguments.output is None:
            name = os.path.basename(os.path.normpath(arguments.dataset))
            arguments.output = command_line.new_run_folder(name)
        directory, settings = command_line.open_run(
            _NAME,
            arguments.output,
            None,
            {
                **given,
                "recipe": dataclasses.asdict(recipe),
                "overrides": overrides,
                "data": task.fingerprint,
                "language_models": task.language_models_fingerprint,
            },
        )
    elif settings["data"] != task.fingerprint:
        raise command_line.UserError(
            f"`--resume {arguments.resume}`: the data set ({found.dataset}) "
            "is not the one the run was started with: its texts, labels or "
            "words differ. Put the old data back, or start a new run."
        )
    elif settings["language_models"] != task.language_models_fingerprint:
        raise command_line.UserError(
            f"`--resume {arguments.resume}`: the pretrained language model "
            f"({' '.join(found.pretrained)}) is not the one the run was "
            "started with. Put the old one back, or start a new run."
        )
    with run_locked(directory), RunClock(directory) as clock:
        return run_classifier(
            task, recipe, argparse.Namespace(**settings), directory, clock
        )


if __name__ == "__main__":
    command_line.run(main)
