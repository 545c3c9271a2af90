"""How this folder's command lines end: status, last line, errors."""

import argparse
import contextlib
import json
import logging
import os
import sys
import traceback


class UserError(ValueError):
    """A mistake of the user's, told in one message without a traceback."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Ends a flag's help with its default, unless there is none to tell."""

    def _get_help_string(self, action):
        nothing = action.default is False or action.default in (None, "")
        if nothing or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def check_backend():
    """Raises `UserError` if Keras is told to compute without TensorFlow.

    What reads texts or answers needs it; `KERAS_BACKEND` is for
    `trainers.train_on_ids`.
    """
    backend, named_by = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    if not backend:
        home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
        named_by = os.path.join(home, "keras.json")
        # Of what else may be wrong with the file Keras itself tells.
        with (
            contextlib.suppress(OSError, ValueError, AttributeError),
            open(named_by, encoding="utf-8") as file,
        ):
            backend = json.load(file).get("backend")
    if backend and backend != "tensorflow":
        raise UserError(
            f"`{named_by}` makes `{backend}` the backend of Keras, and this "
            "command computes with TensorFlow. Leave it out or set "
            "KERAS_BACKEND=tensorflow: `trainers.train_on_ids` alone takes "
            "others."
        )


def run(main, argv=None, mistakes=(UserError,), interrupted="Interrupted."):
    """Runs a command line and exits.

    Args:
        main: Callable from a list of arguments to a JSON-serializable dict,
            printed as the last line of standard output, or `None`.
        argv: Optional list of str, by default the process' own.
        mistakes: Exceptions that a user's mistake raises.
        interrupted: Str, what to say when interrupted.

    Raises:
        SystemExit: Status 0; 1 for a failure; 2 for a user's mistake; 130
            when interrupted.
    """
    # TensorFlow reports devices that it has not found as errors; what really
    # fails raises. A user who wants its log sets the variable.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stderr
    )
    for noisy in ("absl", "tensorflow", "h5py"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        result = main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        logging.error(interrupted)
        sys.exit(130)
    except mistakes as error:
        logging.error("error: %s", error)
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    if result is not None:
        print(json.dumps(result), flush=True)
    sys.exit(0)
