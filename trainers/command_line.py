"""What the trainers' command lines share: errors and run folders."""

import json
import os
import pathlib

from serving import command_line
from serving.command_line import UserError
from ulmfit_tf.data.errors import DataError

__all__ = ["UserError", "open_run", "read_json", "run", "write_json"]


def run(main, argv=None):
    """Runs a command line and exits; see `serving.command_line.run`."""
    command_line.run(
        main,
        argv,
        mistakes=(UserError, DataError),
        interrupted="Interrupted. `--resume DIR` continues, with DIR the run "
        "folder.",
    )


def write_json(path, content):
    """Writes a JSON file beside `path` and renames it."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    beside.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(beside, path)


def open_run(output, resume, settings):
    """Opens a new run folder, or one to resume with its own settings.

    Args:
        output: Optional path of a new run folder.
        resume: Optional path of the run folder to continue.
        settings: Dict, JSON-serializable, of a new run.

    Returns:
        `(directory, settings)`; when resuming the settings are those that
        the run was started with.

    Raises:
        UserError: If the new folder is not empty, or there is nothing to
            resume.
    """
    if resume is not None:
        directory = pathlib.Path(resume)
        config = directory / "config.json"
        if not config.exists():
            raise UserError(
                f"`--resume {resume}`: there is no run in that folder, as it "
                "has no config.json. Give the folder that an earlier run "
                "printed as its `run_dir`."
            )
        return directory, json.loads(config.read_text())
    directory = pathlib.Path(output)
    if directory.exists() and (
        not directory.is_dir() or any(directory.iterdir())
    ):
        raise UserError(
            f"`--output {output}` exists and is not empty; nothing in it was "
            "changed. Choose another folder, or continue the run in it with "
            f"`--resume {output}`."
        )
    try:
        write_json(directory / "config.json", settings)
    except OSError as error:
        raise UserError(
            f"`--output {output}` cannot be written: {error}. Choose a folder "
            "that you may write to."
        ) from error
    return directory, settings


def read_json(path):
    """Reads a JSON file."""
    return json.loads(pathlib.Path(path).read_text())
