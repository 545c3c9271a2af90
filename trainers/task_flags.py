"""What every command that trains classifiers is told of its data."""

import os

from trainers import command_line
from ulmfit_tf.data.task_type import LABEL_SEPARATOR


def add_task_flags(parser):
    """Adds the flags of the data, of what to start from, of the hardware."""
    add = parser.add_argument
    add("--dataset", help="registered name, tfds:NAME, file or folder")
    add("--data-dir", help="where data is looked for first")
    add(
        "--text-column",
        help="column of a CSV, TSV or JSONL file or feature of a tfds set; "
        "text, or a tfds set's only one, unless given",
    )
    add(
        "--label-column",
        action="append",
        metavar="NAME",
        help="column of a CSV, TSV or JSONL file or feature of a tfds set; "
        "label, unless given; with "
        "--multi-label also several columns of 0 and 1: a,b,c",
    )
    add(
        "--multi-label",
        action="store_true",
        help="a text has any number of labels",
    )
    add(
        "--label-separator",
        default=LABEL_SEPARATOR,
        help="between the labels of one column, with --multi-label",
    )
    add(
        "--pretrained",
        nargs="+",
        default=["compact"],
        metavar="NAME_OR_DIR",
        help="language model to start from, or none; by default compact, "
        "which is English",
    )
    add(
        "--preset",
        help="compact, paper, small or tiny: sizes of a model from scratch, "
        "with --pretrained none small unless given; of what a pretrained model "
        "is compared with, that one's unless given",
    )
    add(
        "--test-fraction",
        type=float,
        default=0.1,
        help="held out for the test of data without a test split; 0: none",
    )
    add(
        "--tokenizer",
        choices=("word", "sentencepiece"),
        help="with --pretrained none; word, unless given",
    )
    command_line.add_run_flags(parser)


def check_task_flags(parser, arguments, compares=False):
    """Sets defaults, or ends if flags contradict each other.

    Args:
        parser: What the flags were added to.
        arguments: Namespace that it returned.
        compares: Bool, whether the command also trains models from scratch
            where it is told of a pretrained one.
    """
    if "none" in arguments.pretrained and len(arguments.pretrained) > 1:
        parser.error("--pretrained takes names and folders, or none alone")
    if (
        arguments.label_separator != LABEL_SEPARATOR
        and not arguments.multi_label
    ):
        parser.error("--label-separator is for --multi-label; leave it out")
    starts_from_scratch = arguments.pretrained == ["none"]
    defaults = {
        # Beside a pretrained model its sizes are taken.
        "preset": "small" if starts_from_scratch else None,
        "tokenizer": "word",
    }
    for name, default in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
        elif not starts_from_scratch and not compares:
            parser.error(
                f"--{name} is for a model from scratch; a pretrained one "
                "brings its own. Add --pretrained none, or leave it out"
            )


def load_dataset(settings):
    """Loads the data set that a command line names.

    Args:
        settings: Namespace with `seed`, optionally `num_labels`, and the
            flags of `add_task_flags`.

    Raises:
        UserError: If the seed is out of range.
        DataError: If the data cannot be read.
    """
    command_line.check_seed(settings.seed)
    from ulmfit_tf import data

    dataset = data.load_dataset(
        settings.dataset,
        data_dir=settings.data_dir,
        text_column=settings.text_column,
        label_column=settings.label_column,
        test_fraction=settings.test_fraction,
        # The same test split whatever the seed: what was chosen with one seed
        # may not have seen what another is measured on.
        seed=0,
        multi_label=settings.multi_label,
        label_separator=settings.label_separator,
    )
    if getattr(settings, "num_labels", None) is not None:
        dataset = dataset.limit_labels(settings.num_labels, seed=settings.seed)
    return dataset


def with_paths_from_start(settings, given=()):
    """Returns a run's settings with paths that lead to its files.

    A relative path leads from the folder in which the run was started. One
    that does not exist there, as on another machine, stays as it is and leads
    from the current folder.

    Args:
        settings: Dict of the run's settings; `working_folder` is that folder.
        given: Names of settings that this process was given, and that stay.
    """
    folder = settings["working_folder"]
    if folder == os.getcwd():
        return settings
    from ulmfit_tf import data, pretrained

    def path(name):
        there = os.path.join(folder, os.path.expanduser(name))
        return there if os.path.exists(there) else name

    dataset, data_dir = settings["dataset"], settings["data_dir"]
    if dataset not in data.DATASETS and not dataset.startswith("tfds:"):
        dataset = path(dataset)
    names = {"none", *pretrained.shipped_models()}
    found = {
        "dataset": dataset,
        "data_dir": None if data_dir is None else path(data_dir),
        "pretrained": [
            name if name in names else path(name)
            for name in settings["pretrained"]
        ],
    }
    return settings | {k: v for k, v in found.items() if k not in given}
