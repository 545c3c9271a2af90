"""What the trainers' command lines share: errors and run folders."""

import argparse
import itertools
import json
import logging
import math
import os
import pathlib
import shutil
import time

from serving import command_line
from serving.command_line import HelpFormatter, UserError, check_backend
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.whole_files import DamagedFile, written_whole

__all__ = [
    "USER_ERRORS",
    "HelpFormatter",
    "UserError",
    "add_run_flags",
    "check_backend",
    "check_output",
    "check_run_version",
    "check_seed",
    "discard_run",
    "load_language_model",
    "new_run_folder",
    "open_run",
    "read_json",
    "record",
    "refuse_other_flags",
    "run",
    "seconds",
    "write_json",
]
# Mistakes of the user, which end in one message and exit status 2. Training
# that diverges is one too: of its rates, or of its number format.
USER_ERRORS = (UserError, DataError, DamagedFile, FloatingPointError)
# Of what a run folder holds. Raised when `--resume` can no longer go on with
# what the version before has left.
_RUN_VERSION = 1
_log = logging.getLogger("trainers")


def run(main, argv=None, resumed_by="`--resume DIR`"):
    """Runs a command line and exits; see `serving.command_line.run`.

    Args:
        main: Callable from a list of arguments.
        argv: Optional list of str.
        resumed_by: Str, what continues a run that was interrupted.
    """
    command_line.run(
        main,
        argv,
        mistakes=USER_ERRORS,
        interrupted=f"Interrupted. {resumed_by} continues, with DIR the run "
        "folder.",
    )


def add_run_flags(parser):
    """Adds the flags of the hardware and of how a training is kept."""
    add = parser.add_argument
    add(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16"),
        help="number format of the products; auto: bfloat16 where the "
        "hardware has it",
    )
    add(
        "--strategy",
        default="auto",
        choices=("auto", "none", "mirrored"),
        help="over several GPUs; auto: mirrored if there are several",
    )
    add(
        "--checkpoint-seconds",
        type=seconds,
        default=120.0,
        help="time between saved training states",
    )


def seconds(text):
    """Reads a time for `argparse`, which tells a wrong one."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be 0 or more. Received: {text}")
    return value


def load_language_model(names, direction="forward"):
    """Returns the model that `--pretrained` names.

    Args:
        names: List of str, see `ulmfit_tf.pretrained.load_pretrained`.
        direction: `"forward"` or `"backward"`.

    Raises:
        UserError: If there is none, or it cannot be read.
    """
    # It takes seconds to import.
    from ulmfit_tf import pretrained

    try:
        return pretrained.load_pretrained(names, direction)
    except ValueError as error:
        raise UserError(f"`--pretrained`: {error}") from error


def write_json(path, content):
    """Writes a JSON file, whole or not at all."""
    text = json.dumps(content, indent=2) + "\n"
    with written_whole(path) as beside:
        beside.write_text(text)


def open_run(command, output, resume, settings):
    """Opens a new run folder, or one to resume with its own settings.

    Args:
        command: Name of the command, kept in `config.json`.
        output: Optional path of a new run folder.
        resume: Optional path of the run folder to continue.
        settings: Dict, JSON-serializable, of a new run.

    Returns:
        `(directory, settings)`; when resuming the settings are those that
        the run was started with.

    Raises:
        UserError: If the new folder is not empty, or there is nothing of
            this command and of this release to resume.
    """
    if resume is not None:
        return pathlib.Path(resume), _settings_of_run(command, resume)
    check_output(output)
    directory = pathlib.Path(output)
    try:
        write_json(
            directory / "config.json",
            {"command": command, "run_version": _RUN_VERSION, **settings},
        )
    except OSError as error:
        raise UserError(
            f"`--output {output}` cannot be written: {error}. Choose a folder "
            "that you may write to."
        ) from error
    _log.info("run folder: %s", directory)
    return directory, settings


def record(directory, **settings):
    """Adds settings to those that a run folder is resumed with."""
    config = pathlib.Path(directory) / "config.json"
    write_json(config, {**read_json(config), **settings})


def discard_run(directory, with_folder):
    """Removes what a new run has left in its folder.

    Args:
        directory: `pathlib.Path` of the run folder.
        with_folder: Bool, whether to remove the folder too; one that was
            there before, or a link to one, is the user's.
    """
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if with_folder:
        directory.rmdir()


def new_run_folder(name):
    """Makes the folder of a run that was given none, `runs/NAME-TIME`.

    Runs that begin in the same second get one each.

    Args:
        name: Str, what the run is about.

    Raises:
        UserError: If it cannot be made.
    """
    moment = time.strftime("%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        suffix = f"-{number}" if number > 1 else ""
        folder = os.path.join("runs", f"{name}-{moment}{suffix}")
        try:
            os.makedirs(folder)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"`{folder}` cannot be made: {error}. Name a folder that you "
                "may write to with `--output`."
            ) from error
        return folder


def check_output(output):
    """Raises `UserError` if a new run folder exists and is not empty."""
    directory = pathlib.Path(output)
    try:
        taken = directory.exists() and (
            not directory.is_dir() or any(directory.iterdir())
        )
    except OSError as error:
        raise UserError(
            f"`--output {output:.80}` cannot be looked up: {error.strerror}. "
            "Choose a folder that you may write to."
        ) from error
    if taken:
        raise UserError(
            f"`--output {output}` exists and is not empty; nothing in it was "
            "changed. Choose another folder, or continue the run in it with "
            f"`--resume {output}`."
        )


def check_seed(seed):
    """Raises `UserError` if `--seed` is no seed of Keras and NumPy."""
    if not 0 <= seed < 2**32:
        raise UserError(
            f"`--seed` must lie between 0 and 4294967295. Received: {seed}."
        )


def _settings_of_run(command, resume):
    config = pathlib.Path(resume) / "config.json"
    try:
        exists = config.exists()
    except OSError as error:
        raise UserError(
            f"`--resume {resume:.80}` cannot be looked up: {error.strerror}. "
            "Give the folder that the run printed first."
        ) from error
    if not exists:
        raise UserError(
            f"`--resume {resume}`: there is no run in that folder, as it has "
            "no config.json. Give the folder that the run printed first."
        )
    try:
        settings = read_json(config)
    except ValueError as error:
        raise UserError(
            f"`--resume {resume}`: its config.json is damaged: {error}. Start "
            "a new run."
        ) from error
    if not isinstance(settings, dict) or settings.get("command") != command:
        raise UserError(
            f"`--resume {resume}`: that folder is not a run of {command}. "
            "Give the folder that the run printed first."
        )
    check_run_version(f"--resume {resume}", settings)
    return settings


def check_run_version(named, settings):
    """Raises `UserError` if another release of the project began a run.

    Args:
        named: Str, the run folder as the user named it.
        settings: Dict, what its `config.json` holds.
    """
    if settings.get("run_version") != _RUN_VERSION:
        raise UserError(
            f"`{named}`: another release of this project began the run. Go on "
            "with that release, or start a new run."
        )


def refuse_other_flags(parser, argv, allowed=()):
    """Ends with status 2 if a flag stands beside `--resume`.

    A resumed run keeps the settings it was started with, but for those that
    are `allowed`.
    """
    flags = {word.split("=")[0] for word in argv if word.startswith("--")}
    flags -= set(allowed)
    if "--resume" in flags and len(flags) > 1:
        others = ", ".join(sorted(flags - {"--resume"}))
        parser.error(
            f"--resume continues with the run's own settings; leave out "
            f"{others}"
        )


def read_json(path):
    """Reads a JSON file."""
    return json.loads(pathlib.Path(path).read_text())
