"""Searches for a better recipe on the validation split, with KerasTuner.

python -m trainers.tune --dataset trec6 --max-trials 8 --oracle grid

Several workers: start this command once more for each, with the same
`--output`, and KerasTuner's variables in the environment: the chief, which
trains nothing, has `KERASTUNER_TUNER_ID=chief`, each worker an id of its own,
and all `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT`, where the chief
listens. A worker that was killed and is started again goes on; else another
takes its trial over.
"""

import contextlib
import dataclasses
import json
import logging
import math
import os
import sys
import time

from trainers import command_line
from trainers.command_line import UserError
from trainers.experiments import space
from trainers.experiments.command import (
    Experiment,
    experiment_parser,
    parse,
    with_language_model_pinned,
)
from trainers.experiments.notes import (
    VALIDATION_NOTE,
    notes_of_tasks,
)

_NAME = "trainers.tune"
_EXTENDABLE = ("--max-trials", "--worker-timeout")
_VARIABLES = (
    "KERASTUNER_TUNER_ID",
    "KERASTUNER_ORACLE_IP",
    "KERASTUNER_ORACLE_PORT",
)
# How long a worker waits for the chief's run folder.
_PATIENCE_SECONDS = 600
_WORKER_TIMEOUT = 600.0
_SHORTEST_TIMEOUT = 15.0
_log = logging.getLogger("trainers")


def parse_arguments(argv):
    parser = experiment_parser(_NAME, "Tunes a recipe.")
    add = parser.add_argument
    add("--max-trials", type=int, default=10, help="recipes to try at most")
    add(
        "--oracle",
        default="random",
        choices=("random", "bayesian", "hyperband", "grid"),
        help="what chooses the recipes to try",
    )
    add(
        "--tune",
        default="decay_factor",
        metavar="FIELD,...",
        help="fields of the recipe, of " + ", ".join(space.TUNABLE),
    )
    add(
        "--worker-timeout",
        type=float,
        default=_WORKER_TIMEOUT,
        metavar="SECONDS",
        help="without a sign of life, after which a parallel worker counts "
        "as dead and another takes its trial over",
    )
    arguments = parse(parser, argv, _EXTENDABLE)
    if arguments.max_trials < 1:
        parser.error("--max-trials must be at least 1")
    if arguments.worker_timeout < _SHORTEST_TIMEOUT:
        parser.error(
            f"--worker-timeout must be at least {_SHORTEST_TIMEOUT:g} seconds: "
            "a worker gives a sign of life every five"
        )
    return arguments


def main(argv):
    arguments = parse_arguments(argv)
    role = _role(arguments)
    if role == "worker":
        arguments.resume = _wait_for_folder(arguments)
    experiment = Experiment(_NAME, arguments, argv, _EXTENDABLE)
    settings = experiment.settings
    if role == "worker":
        _check_same_flags(arguments, argv, settings)
    from trainers.experiments import chief, sweep

    names = sweep.fields_to_tune(settings)
    started = time.monotonic()

    def tasks(seed):
        task, recipe = experiment.task(seed)
        return task, with_language_model_pinned(recipe)

    task, recipe = tasks(0)
    fewest_epochs = sweep.fewest_epochs(names, recipe, task)
    fields = space.searched(names, fewest_epochs)
    point = space.defaults(names, recipe, experiment.overrides)
    sweep.check_start(point)
    if experiment.is_new:
        settings["points"] = space.grid(point, settings["max_trials"], fields)
    elif settings["oracle"] == "grid":
        settings["points"] = _more_points(point, fields, settings)
    oracle = _oracle(experiment, recipe, fewest_epochs)
    if experiment.is_new:
        sweep.check_stage_two(names, recipe, settings)
        sweep.check_trials(settings, oracle)
    facts = {
        "recipe": dataclasses.asdict(recipe),
        "data": task.fingerprint,
        # Trials are known by their number, not by what they started from.
        "language_models": task.language_models_fingerprint,
    }
    server = None
    if role == "worker":
        experiment.check(**facts)
    else:
        # Listens before there is a folder, which is what workers wait for.
        if role == "chief":
            server = chief.listen()
        experiment.open(**facts)
    # KerasTuner prints; standard output is for the result.
    with contextlib.redirect_stdout(sys.stderr):
        tuner = _tuner(experiment, oracle, tasks, point, fields)
        dead = _search(tuner, experiment, role, server)
    if role == "worker":
        return {
            "run_dir": str(experiment.directory),
            "worker": os.environ["KERASTUNER_TUNER_ID"],
            "seconds": round(time.monotonic() - started, 1),
        }
    figures = _summarize(experiment, point, recipe)
    figures["seconds"] = round(time.monotonic() - started, 1)
    command_line.write_json(experiment.directory / "metrics.json", figures)
    if dead:
        raise UserError(
            f"The search ended early: {', '.join(dead)} gave no sign of life, "
            "and no other worker was left. What has come to an end is in "
            f"{experiment.directory / 'trials.md'}. `--resume "
            f"{experiment.directory}` goes on, in one process or with workers."
        )
    return figures


def _more_points(point, fields, settings):
    """Returns a grid's points and those of a finer one, as many as that has."""
    points = settings["points"]
    finer = space.grid(point, settings["max_trials"], fields)
    others = [each for each in finer if each not in points]
    return space.farthest_first(points, others, max(len(points), len(finer)))


def _role(arguments):
    """Returns `"alone"`, `"chief"` or `"worker"`."""
    given = [name for name in _VARIABLES if os.environ.get(name)]
    if not given:
        return "alone"
    missing = sorted(set(_VARIABLES) - set(given))
    if missing:
        raise UserError(
            f"The environment has {', '.join(given)} but not "
            f"{', '.join(missing)}. KerasTuner's parallel workers need all "
            "three; to tune in one process, unset them."
        )
    if arguments.output is None and arguments.resume is None:
        raise UserError(
            "Parallel workers share a run folder. Give the chief and all "
            "workers the same `--output DIR`."
        )
    # As KerasTuner tells them apart.
    is_chief = "chief" in os.environ["KERASTUNER_TUNER_ID"]
    return "chief" if is_chief else "worker"


def _wait_for_folder(arguments):
    directory = arguments.resume or arguments.output
    config = os.path.join(directory, "config.json")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not os.path.exists(config):
        if time.monotonic() > deadline:
            raise UserError(
                f"There is no run in `{directory}` to work for after "
                f"{_PATIENCE_SECONDS} seconds. Start the chief, with "
                f"KERASTUNER_TUNER_ID=chief and `--output {directory}`."
            )
        time.sleep(1)
    return directory


def _oracle(experiment, recipe, fewest_epochs):
    from trainers.experiments import oracles

    settings = experiment.settings
    return oracles.new_oracle(
        settings["oracle"],
        settings["max_trials"],
        seed=0,
        points=settings["points"],
        max_epochs=recipe.epochs,
        min_epochs=fewest_epochs,
    )


def _tuner(experiment, oracle, tasks, point, fields):
    from trainers.experiments.cells import Cells
    from trainers.experiments.hypermodel import RecipeHyperModel, RecipeTuner
    from trainers.experiments.ledger import Ledger

    directory = experiment.directory
    hypermodel = RecipeHyperModel(
        Cells(directory), tasks, experiment.options, point, fields
    )
    return RecipeTuner(
        oracle,
        hypermodel,
        experiment.seeds,
        directory / "logs",
        Ledger(directory / "trials.jsonl"),
        directory=str(directory),
        project_name="search",
    )


def _check_same_flags(arguments, argv, settings):
    """Raises if a worker is told of other settings than the run has."""
    given = json.loads(json.dumps(vars(arguments)))
    own = {"output", "resume", "worker_timeout"}
    for flag in {word.split("=")[0] for word in argv if word[:2] == "--"}:
        # A recipe's file is called other than its flag.
        field = {"--recipe": "recipe_file"}.get(flag, flag[2:])
        field = field.replace("-", "_")
        if field not in own and given[field] != settings.get(field):
            raise UserError(
                f"This worker was given `{flag}` {given[field]}, and the run "
                f"in `{arguments.resume}` has {settings.get(field)}. Workers "
                "take the run's settings: give them the chief's flags, or "
                f"`--resume {arguments.resume}` alone."
            )


def _search(tuner, experiment, role, server):
    """Runs the search, or a part of it; returns the workers that died."""
    import keras_tuner

    from trainers.experiments import chief

    signs = experiment.directory / "workers"
    try:
        if role == "chief":
            timeout = experiment.settings["worker_timeout"]
            return chief.serve(
                server, tuner.oracle, chief.Watch(signs), timeout
            )
        with contextlib.ExitStack() as stack:
            if role == "worker":
                worker = os.environ["KERASTUNER_TUNER_ID"]
                stack.enter_context(chief.signs_of_life(signs, worker))
            tuner.search(verbose=0)
        return []
    except keras_tuner.errors.FatalError as error:
        # What a trial found to be the user's mistake is told as one.
        if isinstance(error.__cause__, command_line.USER_ERRORS):
            raise error.__cause__ from error
        raise


def _summarize(experiment, point, recipe):
    """Writes table, plot and the best recipe; returns the final figures."""
    from trainers.experiments import plots, tables
    from trainers.experiments.ledger import Ledger
    from trainers.recipe_files import write_recipe

    directory, settings = experiment.directory, experiment.settings
    trials = Ledger(directory / "trials.jsonl").records()
    if not trials:
        raise UserError(
            f"No trial has come to an end. `--resume {directory}` goes on."
        )
    rows = [
        {
            "trial": int(key),
            **trial["values"],
            **tables.summary(trial["errors"]),
            "diverged": trial["errors"].count(None),
        }
        for key, trial in trials.items()
    ]
    rows.sort(key=_rank)
    names = list(next(iter(trials.values()))["values"])
    title = f"{experiment.name}: {settings['oracle']} search"
    tables.write_table(
        directory / "trials",
        f"{title}, validation error in %",
        {
            "trial": "trial",
            **{name: name.replace("_", " ") for name in names},
            **tables.SUMMARY_COLUMNS,
        },
        rows,
        [
            "Best first; what diverged with a seed or more comes last, and "
            "its mean is that of the other seeds. Settings: config.json.",
            VALIDATION_NOTE,
            *notes_of_tasks(experiment, experiment.seeds),
        ],
    )
    is_hyperband = settings["oracle"] == "hyperband"
    drawn, hint = _comparable(trials) if is_hyperband else (trials.values(), "")
    for name in point:
        plots.sweep(
            directory / f"{name}.png",
            title + hint,
            name,
            [(t["values"][name], t["errors"]) for t in drawn],
            marked=(
                space.PAPER_DECAY_FACTOR
                if name.endswith("decay_factor")
                else None
            ),
            joined=len(point) == 1,
            is_log=getattr(space.TUNABLE[name], "sampling", None) == "log",
        )
    best = rows[0]
    if "mean" not in best:
        raise UserError(
            f"Every trial diverged; {directory / 'trials.md'} lists them. "
            "Lower the learning rates, or use `--precision float32`."
        )
    chosen = {name: best[name] for name in names}
    given = {
        **experiment.overrides,
        # A sweep's stage two has rates of its own, see
        # `with_language_model_pinned`.
        "language_model_decay_factor": recipe.language_model_decay_factor,
        # What the trials had, however much text there is: a classifier that
        # is given an order of unfreezing does not shorten its training.
        **({"epochs": recipe.epochs} if "unfreezing" in chosen else {}),
        **chosen,
    }
    write_recipe(directory / "best_recipe.json", given)
    return {
        "dataset": settings["dataset"],
        "validation_error": best["mean"],
        **chosen,
        "trials": len(trials),
        "run_dir": str(directory),
        "best_recipe": str(directory / "best_recipe.json"),
    }


def _comparable(trials):
    """Returns Hyperband's longest trials, and what to add to a title.

    The others are worse for being shorter, whatever their values.
    """
    most = max(trial["values"]["epochs"] for trial in trials.values())
    longest = [t for t in trials.values() if t["values"]["epochs"] == most]
    return longest, f", trials of {most} epochs"


def _rank(row):
    """Fewest diverged seeds first, then the lowest mean error."""
    return row["diverged"], row.get("mean", math.inf), row["trial"]


if __name__ == "__main__":
    command_line.run(main)
