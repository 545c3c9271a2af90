"""Trains a ULMFiT classifier: language model, classifier, export.

python -m trainers.classifier --dataset trec6
"""

import argparse
import dataclasses
import logging
import os
import time

from trainers import command_line
from trainers.recipes import Recipe, recipe_for

_log = logging.getLogger("trainers")


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="python -m trainers.classifier",
        description="Trains a text classifier with ULMFiT and exports it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", help="registered name, tfds:NAME, file or folder")
    add("--data-dir", help="where data is looked for first")
    add("--text-column", help="column of a CSV, TSV or JSONL file")
    add("--label-column", help="column of a CSV, TSV or JSONL file")
    add(
        "--pretrained",
        nargs="+",
        default=["compact"],
        metavar="NAME_OR_DIR",
        help="language model to start from, or none",
    )
    add("--preset", default="compact", help="sizes, with --pretrained none")
    add(
        "--direction",
        default="forward",
        choices=("forward", "backward"),
        help="which way to read, without --bidirectional",
    )
    add("--bidirectional", action="store_true", help="average both ways")
    add("--num-labels", type=int, help="use that many labels only")
    add(
        "--tokenizer",
        default="word",
        choices=("word", "sentencepiece"),
        help="without a pretrained model, which brings its own",
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
    if arguments.resume is None and arguments.dataset is None:
        parser.error("--dataset is needed, unless with --resume")
    return arguments


def main(argv):
    arguments = parse_arguments(argv)
    given = vars(arguments)
    recipe = recipe_for(
        arguments.dataset,
        {f.name: given.get(f.name) for f in dataclasses.fields(Recipe)},
        pretrained=arguments.pretrained != ["none"],
    )
    if arguments.output is None and arguments.resume is None:
        name = os.path.basename(os.path.normpath(arguments.dataset))
        moment = time.strftime("%Y%m%d-%H%M%S")
        arguments.output = os.path.join("runs", f"{name}-{moment}")
    # A name or a column that does not exist must not leave a folder behind.
    dataset = None
    if arguments.resume is None:
        dataset = _load_dataset(arguments)
        from trainers.run import check_settings

        check_settings(recipe, arguments)
    directory, settings = command_line.open_run(
        arguments.output,
        arguments.resume,
        {**given, "recipe": dataclasses.asdict(recipe)},
    )
    metrics = directory / "metrics.json"
    if metrics.exists():
        return command_line.read_json(metrics)["figures"]
    from trainers.run import run_classifier

    settings = argparse.Namespace(**settings)
    recipe = Recipe(**settings.recipe)
    dataset = dataset or _load_dataset(settings)
    return run_classifier(dataset, recipe, settings, directory)


def _load_dataset(settings):
    from ulmfit_tf import data

    dataset = data.load_dataset(
        settings.dataset,
        data_dir=settings.data_dir,
        text_column=settings.text_column,
        label_column=settings.label_column,
    )
    if settings.num_labels is not None:
        dataset = dataset.limit_labels(settings.num_labels, seed=settings.seed)
    return dataset


if __name__ == "__main__":
    command_line.run(main)
