"""Recipes from flags and files: `--decay-factor 2.6`, `--recipe FILE`."""

import dataclasses
import difflib
import json
import pathlib

from trainers.command_line import UserError, write_json
from trainers.recipe_flags import add_field_flags
from trainers.recipes import CHOICES, Recipe, described_defaults


def add_recipe_flags(parser):
    """Adds a flag for each field of a recipe, and `--recipe` for a file."""
    group = parser.add_argument_group("recipe")
    group.add_argument(
        "--recipe",
        dest="recipe_file",
        metavar="FILE",
        help="JSON file with fields of the recipe; flags overrule it",
    )
    add_field_flags(group, Recipe, CHOICES, described_defaults())


def recipe_overrides(arguments):
    """Returns the fields that a file or flags give; flags win.

    Args:
        arguments: Namespace of a parser with `add_recipe_flags`.
    """
    names = {field.name for field in dataclasses.fields(Recipe)}
    flags = {k: v for k, v in vars(arguments).items() if k in names}
    if arguments.recipe_file is None:
        return flags
    return {**read_recipe(arguments.recipe_file), **flags}


def write_recipe(path, fields):
    """Writes fields of a recipe, whole or not at all.

    Only what was chosen belongs there: the rest stays the data set's, and
    fits itself to the size of the data.

    Args:
        path: Path of a JSON file.
        fields: Dict from the names of fields to their values.
    """
    write_json(path, fields)


def read_recipe(path, flag="--recipe"):
    """Reads fields of a recipe from a JSON file.

    Args:
        path: Path of a JSON object; fields that it lacks are the data set's.
        flag: Str, the flag that named it.

    Returns:
        Dict from the names of fields to their values.

    Raises:
        UserError: If the file cannot be read, a field is unknown or a value
            has the wrong type or lies out of its range.
    """
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"`{flag} {path}` cannot be read as JSON: {error}. Give a file "
            'such as {"decay_factor": 2.6}, or the best_recipe.json of a '
            "sweep."
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"`{flag} {path}` must hold one JSON object of a recipe's "
            f"fields. Received: {type(content).__name__}."
        )
    types = {field.name: field.type for field in dataclasses.fields(Recipe)}
    fields = {}
    for name, value in content.items():
        if name not in types:
            close = difflib.get_close_matches(name, types, n=1)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise UserError(
                f"`{flag} {path}`: a recipe has no field `{name}`.{hint} "
                f"Expected: {', '.join(types)}."
            )
        fields[name] = _typed(f"{flag} {path}", name, value, types[name])
    try:
        # A recipe checks its ranges.
        Recipe(**fields)
    except UserError as error:
        # It names a flag, which nobody gave.
        raise UserError(f"`{flag} {path}`: {error}") from error
    return fields


def _typed(given, name, value, expected):
    # In JSON 2 and 2.0 are both what a float may look like.
    accepted = (int, float) if expected is float else expected
    if isinstance(value, bool) or not isinstance(value, accepted):
        kinds = {int: "a whole number", float: "a number", str: "a string"}
        raise UserError(
            f"`{given}`: `{name}` must be {kinds[expected]}. "
            f"Received: {json.dumps(value)}."
        )
    return expected(value)
