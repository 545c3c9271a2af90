"""What a sweep can search over with a task; its settings are checked here."""

from trainers.command_line import UserError
from trainers.experiments.space import TUNABLE
from ulmfit_tf.training.unfreezing import METHODS

_OF_STAGE_TWO = {
    "language_model_decay_factor",
    "language_model_rate",
    "language_model_dropout",
}


def fields_to_tune(settings):
    """Returns the names of the fields that `--tune` gives.

    Args:
        settings: Dict of the run's settings.

    Raises:
        UserError: If a name is wrong, or not for the oracle.
    """
    names = [name for name in settings["tune"].split(",") if name]
    wrong = [name for name in names if name not in TUNABLE]
    if wrong or not names or len(set(names)) < len(names):
        raise UserError(
            "`--tune` takes fields of the recipe, separated by commas, of: "
            f"{', '.join(TUNABLE)}. Received: {settings['tune']}."
        )
    if settings["oracle"] == "hyperband" and "epochs" in names:
        raise UserError(
            "`--oracle hyperband` chooses the epochs itself; leave `epochs` "
            "out of `--tune`, and give the longest training as `--epochs`."
        )
    return names


def check_stage_two(names, recipe, settings):
    """Raises if a field would change nothing, as stage two has no use for it.

    Args:
        names: Fields to tune.
        recipe: `Recipe`.
        settings: Dict of the run's settings.
    """
    if not recipe.language_model_epochs:
        idle = _OF_STAGE_TWO
        reason = "there is no stage two with `--language-model-epochs 0`"
    elif settings["pretrained"] == ["none"]:
        # See `language_model_recipe`.
        idle = {"language_model_decay_factor"}
        reason = (
            "all layers of stage two have the same rate with `--pretrained "
            "none`"
        )
    else:
        return
    wrong = [name for name in names if name in idle]
    if wrong:
        raise UserError(
            f"`--tune {','.join(wrong)}` would change nothing: {reason}. "
            "Leave it out of `--tune`."
        )


def fewest_epochs(names, recipe, task):
    """Returns the epochs that all ways of unfreezing to try can do with.

    Args:
        names: Fields to tune.
        recipe: `Recipe`.
        task: `Task`.

    Raises:
        UserError: If the recipe has fewer.
    """
    methods = METHODS if "unfreezing" in names else [recipe.unfreezing]
    slowest = max(methods, key=task.fewest_epochs)
    fewest = task.fewest_epochs(slowest)
    if recipe.epochs < fewest:
        raise UserError(
            f"{slowest} unfreezing takes {fewest} epochs or more, and there "
            f"are {recipe.epochs}. Give more `--epochs`."
        )
    return fewest


def check_start(point):
    """Raises if a search on a logarithmic scale would start from 0."""
    for name, value in point.items():
        field = TUNABLE[name]
        if getattr(field, "sampling", None) == "log" and value <= 0:
            raise UserError(
                f"`--tune {name}` searches from {field.low:g} to "
                f"{field.high:g} on a logarithmic scale, which has no place "
                f"for the recipe's {value:g}. Give another "
                f"`--{name.replace('_', '-')}` to start from."
            )


def check_trials(settings, oracle):
    """Raises if Hyperband would end before its first trials are promoted."""
    if settings["oracle"] != "hyperband":
        return
    if settings["max_trials"] < oracle.fewest_trials:
        raise UserError(
            "`--oracle hyperband` tries many recipes with few epochs, and the "
            f"best of them with more: it needs `--max-trials "
            f"{oracle.fewest_trials}` or more for up to {oracle.max_epochs} "
            f"epochs. Received: {settings['max_trials']}. Give so many, or "
            "another `--oracle`."
        )
