"""One flag for each field of a recipe, told of by the recipe's docstring."""

import argparse
import dataclasses
import inspect
import re
from typing import Any


def add_field_flags(group, documented, choices, defaults):
    """Adds the flags; what is not given is not in the namespace.

    Args:
        group: Parser or group of arguments.
        documented: Dataclass whose docstring has a section `Attributes`.
        choices: Dict from names of fields to what they may be.
        defaults: Dict from names of fields to what `--help` calls the
            default.
    """
    descriptions = field_descriptions(documented)
    for field in dataclasses.fields(documented):
        text = f"{descriptions[field.name]} (default: {defaults[field.name]})"
        allowed = choices.get(field.name)
        kind: Any = field.type
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            choices=allowed,
            metavar=None if allowed else kind.__name__.upper(),
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
        )


def field_descriptions(documented):
    """Returns what a docstring's section `Attributes` says, by name."""
    section = (inspect.getdoc(documented) or "").split("Attributes:\n")[1]
    entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", section, re.M)
    return {
        # For the terminal: without a code mark and the full stop.
        name: " ".join(text.split()).replace("`", "").removesuffix(".")
        for name, text in entries
    }
