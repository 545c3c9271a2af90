"""Runs of a stable schedule, which may be given other numbers of steps."""

import dataclasses

from trainers import command_line
from trainers.language_model_arguments import recipe_of

_ADVICE = (
    "Leave `--max-steps` out to continue the run as it was started, or start "
    "a new run from its language model with `--pretrained`."
)


def check_change(directory, settings, max_steps):
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


def with_max_steps(directory, recipe, max_steps, *parts):
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
    check_warm_up(changed, *parts)
    if max_steps:
        _check_epochs(changed, max_steps, *parts)
    command_line.record(directory, max_steps=max_steps)
    return changed


def check_warm_up(recipe, *parts):
    """Raises `UserError` if a stable rate would fall before it has risen."""
    from trainers.language_model_stage import WARM_UP_STEPS, stable_until

    if recipe.schedule != "stable":
        return
    falls = stable_until(recipe, *parts)
    if falls <= WARM_UP_STEPS:
        # The warm-up is the same for all runs, as their steps may change.
        raise command_line.UserError(
            f"`--schedule stable` rises for {WARM_UP_STEPS} steps, and with so "
            f"few steps its rate would fall from step {falls} on. Train for "
            f"more than {WARM_UP_STEPS * 5 // 4} steps, or use another "
            "`--schedule`."
        )


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
