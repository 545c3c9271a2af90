"""What all command lines share: errors, the last line, run folders."""

import json
import logging
import os
import pathlib
import sys
import traceback


class UserError(ValueError):
    """A mistake of the user's, told in one message without a traceback."""


def run(main, argv=None):
    """Runs a command line and exits.

    Args:
        main: Callable from a list of arguments to a dict: the run's final
            figures, printed as the last line of standard output.
        argv: Optional list of str, by default the process' own.

    Raises:
        SystemExit: Status 0; 2 for a user's mistake; 130 when interrupted.
    """
    # TensorFlow reports on devices it has not found before it says anything
    # else; a user who wants that sets the variable.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stderr
    )
    for noisy in ("absl", "tensorflow", "h5py"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        figures = main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        logging.error(
            "Interrupted. `--resume DIR` with the run folder continues."
        )
        sys.exit(130)
    except (UserError, _data_error()) as error:
        logging.error("error: %s", error)
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    print(json.dumps(figures), flush=True)
    sys.exit(0)


def _data_error():
    from ulmfit_tf.data.errors import DataError

    return DataError


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


def write_arrays(path, arrays):
    """Writes arrays by name as `.npz`, beside `path`, and renames it."""
    import numpy as np

    path = pathlib.Path(path)
    beside = path.with_name("partial-" + path.name)
    np.savez(beside, **arrays)
    os.replace(beside, path)
