"""What the commands of experiments share: flags, run folders, tasks."""

import argparse
import contextlib
import dataclasses
import functools
import json
import logging
import os
import pathlib
import time

from trainers import command_line
from trainers.locks import locked
from trainers.recipe_files import (
    add_recipe_flags,
    read_recipe,
    recipe_overrides,
)
from trainers.recipes import (
    TASK_FIELDS,
    fitted_to_task,
    recipe_for,
)
from trainers.task_flags import (
    add_task_flags,
    check_task_flags,
    load_dataset,
    with_paths_from_start,
)

_log = logging.getLogger("trainers")


def experiment_parser(command, description):
    """Returns a parser with the flags that all experiments have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {command}",
        usage="%(prog)s --dataset NAME_OR_PATH [flags]",
        description=description,
        allow_abbrev=False,
        formatter_class=command_line.HelpFormatter,
    )
    add_task_flags(parser)
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        help="times that each setting is trained, with seeds 0, 1, ...",
    )
    parser.add_argument("--output", help="new run folder")
    parser.add_argument("--resume", metavar="DIR", help="run to continue")
    add_recipe_flags(parser)
    return parser


def add_scratch_flags(parser):
    """Adds the flag of those experiments that also train from scratch."""
    parser.add_argument(
        "--scratch-recipe",
        metavar="FILE",
        help="JSON file with fields of the recipe of what starts from "
        "scratch; other flags of the recipe are for the method alone, but for "
        + ", ".join(f"--{name.replace('_', '-')}" for name in TASK_FIELDS),
    )


def parse(parser, argv, extendable, compares=False):
    """Parses a command line.

    Args:
        parser: What `experiment_parser` returned.
        argv: List of str.
        extendable: Flags that may stand beside `--resume`, such as
            `"--seeds"`.
        compares: Bool, see `check_task_flags`.

    Returns:
        Namespace of the settings; with `--resume` those of the run, but for
        the flags that are given.
    """
    arguments = parser.parse_args(argv)
    command_line.refuse_other_flags(parser, argv, extendable)
    if arguments.resume is None and arguments.dataset is None:
        parser.error("--dataset is needed, unless with --resume")
    check_task_flags(parser, arguments, compares)
    command_line.check_backend()
    if arguments.seeds < 1:
        parser.error(f"--seeds must be at least 1, not {arguments.seeds}")
    return arguments


# What to do when a fact has changed since a run was started.
_REMEDIES = {
    "data": "The data set has changed: put the old one back",
    "recipe": "Defaults have changed: use the release that began the run",
    "language_models": "The pretrained model has changed: put the old one back",
}


class Experiment:
    """A run folder, its settings, and the tasks of its seeds.

    Args:
        command: Name of the command, such as `"trainers.ablation"`.
        arguments: Namespace that `parse` returned.
        argv: List of str.
        extendable: See `parse`.
    """

    def __init__(self, command, arguments, argv, extendable=()):
        self.command = command
        self.is_new = arguments.resume is None
        named = {word.split("=")[0] for word in argv}
        # Those of a parallel worker are for itself.
        self._flags = {flag[2:].replace("-", "_") for flag in named}
        given = vars(arguments)
        # The settings in the folder, before flags changed any.
        self.stored = {}
        if self.is_new:
            overrides = recipe_overrides(arguments)
            self.settings = {
                "command": command,
                **given,
                "working_folder": os.getcwd(),
                "overrides": overrides,
                "scratch_overrides": _scratch_overrides(arguments, overrides),
            }
            if arguments.output is None:
                kind = command.rpartition(".")[2]
                moment = time.strftime("%Y%m%d-%H%M%S")
                self.settings["output"] = f"runs/{kind}-{self.name}-{moment}"
            command_line.check_output(self.settings["output"])
            self.directory = pathlib.Path(self.settings["output"])
        else:
            self.directory, self.settings = command_line.open_run(
                command, None, arguments.resume, None
            )
            self.stored = dict(self.settings)
            for flag in named & set(extendable):
                field = flag[2:].replace("-", "_")
                self.settings[field] = given[field]
        self._tasks = {}
        self._options = None

    @property
    def name(self):
        """Str, the data set for titles and folders."""
        return os.path.basename(os.path.normpath(self.settings["dataset"]))

    @property
    def overrides(self):
        """Dict of the recipe's fields that the user gave."""
        return self.settings["overrides"]

    @property
    def scratch_recipe(self):
        """Str, the file of what starts from scratch, or `None`."""
        # A search over the method alone has none.
        return self.settings.get("scratch_recipe")

    @property
    def seeds(self):
        """Range of the seeds."""
        return range(self.settings["seeds"])

    def asked_for(self):
        """Returns the settings in the run folder.

        Another process may have been started with more seeds since.
        """
        return command_line.read_json(self.directory / "config.json")

    def open(self, **facts):
        """Makes the run folder, or goes on in it.

        Args:
            **facts: What is known only now, JSON-serializable; see `check`.
        """
        kept = self.options(0).to_keep()
        if self.is_new:
            self.settings.update(facts, **kept)
            command_line.open_run(
                self.command, str(self.directory), None, self.settings
            )
        else:
            self.check(**facts)
            # Another process may have added to them since they were read.
            with locked(self.directory / "locks" / "config.json"):
                together = _together(self.asked_for(), self.settings)
                self.settings.update(together, **kept)
                command_line.write_json(
                    self.directory / "config.json", self.settings
                )

    def check(self, **facts):
        """Raises `UserError` if a fact is not what it was at the start."""
        for name, value in facts.items():
            if self.settings[name] != json.loads(json.dumps(value)):
                raise command_line.UserError(
                    f"`{self.directory}`: the {name} is not what the run was "
                    f"started with. {_REMEDIES[name]}, or start a new run."
                )

    @functools.cached_property
    def scratch_architecture(self):
        """`Architecture` of what starts from scratch, the pretrained one's.

        `None` if `--preset` says what it is.
        """
        settings = self.settings
        if settings["preset"] or settings["pretrained"] == ["none"]:
            return None
        names = self._settings_with_paths()["pretrained"]
        return command_line.load_language_model(names).architecture

    def namespace(self, seed, direction="forward", from_scratch=False):
        """Returns the settings of one classifier."""
        settings = {
            **self._settings_with_paths(),
            "seed": seed,
            "direction": direction,
            "bidirectional": False,
        }
        if from_scratch:
            settings["pretrained"] = ["none"]
            settings["architecture"] = self.scratch_architecture
        return argparse.Namespace(**settings)

    def _settings_with_paths(self):
        return with_paths_from_start(self.settings, self._flags)

    def options(self, seed, direction="forward"):
        """Returns the `RunOptions` of one classifier."""
        if self._options is None:
            from trainers.run_options import RunOptions

            # What `auto` came to at the start: results in two number formats
            # do not belong into one table.
            self._options = RunOptions.from_settings(
                self.namespace(seed)
            ).as_kept(self.settings, self.directory)
        # One strategy for all: models do not mix between two.
        return dataclasses.replace(
            self._options, seed=seed, direction=direction
        )

    def dataset(self):
        """Loads the data set, with the test split of seed 0 for every seed.

        Where a test split has to be held out, it must be the same for all
        seeds: what is chosen here may not have seen it.
        """
        return load_dataset(self.namespace(0))

    def recipe(self, from_scratch=False):
        """Returns the recipe, before it is fitted to the size of the data.

        What the user gave for the method is not for what the method is
        compared with: that has a recipe of its own, and shares only what is
        read and answered.
        """
        return recipe_for(
            self.settings["dataset"],
            self._given(from_scratch),
            pretrained=self._is_pretrained(from_scratch),
        )

    def _is_pretrained(self, from_scratch):
        return not from_scratch and self.settings["pretrained"] != ["none"]

    def _given(self, from_scratch):
        if not from_scratch:
            return self.overrides
        return self.settings["scratch_overrides"]

    def task(self, seed, direction="forward", from_scratch=False):
        """Returns a seed's `Task` and the recipe that suits it.

        Prepared once: what differs between the cells of a seed is told to
        the stages, not to the data.

        Args:
            seed: Int.
            direction: `"forward"` or `"backward"`.
            from_scratch: Bool, whether to start without the pretrained model.
        """
        from trainers.preparation import prepare_task

        settings = self.namespace(seed, direction, from_scratch)
        key = (seed, direction, from_scratch)
        if key not in self._tasks:
            recipe = self.recipe(from_scratch)
            with self.named_mistakes(from_scratch):
                # Rows and trials have ways of unfreezing of their own.
                task = prepare_task(
                    self.dataset(), recipe, settings, check_unfreezing=False
                )
            fitted = self.fitted(recipe, task, from_scratch)
            self._tasks[key] = task, fitted
        return self._tasks[key]

    @contextlib.contextmanager
    def named_mistakes(self, from_scratch):
        """Names the file of what starts from scratch if it is at fault.

        The mistakes themselves name flags, which are the method's.
        """
        try:
            yield
        except command_line.UserError as error:
            if from_scratch and self.scratch_recipe:
                raise command_line.UserError(
                    f"`--scratch-recipe {self.scratch_recipe}`: {error}"
                ) from error
            raise

    def fitted(self, recipe, task, from_scratch=False):
        """Returns a recipe that suits a task's size and its model's."""
        return fitted_to_task(
            recipe,
            self.settings["dataset"],
            self._given(from_scratch),
            task,
            self._is_pretrained(from_scratch),
        )


def _together(stored, own):
    """Returns what grows in a run that several processes were started for.

    A process with fewer seeds or other rows than another takes nothing back.
    """
    together = {"seeds": max(stored["seeds"], own["seeds"])}
    for name in ("rows", "scratch_sizes"):
        # Learning curves have no rows, ablations no sizes.
        lists = [each.get(name) for each in (stored, own)]
        values = [value for each in lists if each for value in each.split(",")]
        if values:
            together[name] = ",".join(dict.fromkeys(values))
    return together


def _scratch_overrides(arguments, overrides):
    file = getattr(arguments, "scratch_recipe", None)
    shared = {k: v for k, v in overrides.items() if k in TASK_FIELDS}
    if not file:
        return shared
    own = read_recipe(file, "--scratch-recipe")
    left_out = sorted(set(own) & set(TASK_FIELDS))
    if left_out:
        _log.info(
            "--scratch-recipe: %s is the same for everything that is "
            "compared, so the file's is not used",
            ", ".join(left_out),
        )
    return {k: v for k, v in own.items() if k not in TASK_FIELDS} | shared


def with_language_model_pinned(recipe):
    """Returns a recipe whose stage two keeps its rates.

    `decay_factor` then is that of stage three alone, so that cells that
    differ in it share stage two.
    """
    decay_factor = recipe.language_model_decay_factor or recipe.decay_factor
    return dataclasses.replace(recipe, language_model_decay_factor=decay_factor)
