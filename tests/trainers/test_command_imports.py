"""A mistyped flag or name does not wait for TensorFlow."""

import subprocess
import sys

import pytest

_SCRIPT = """
import importlib, sys
importlib.import_module(sys.argv[1])
heavy = {"tensorflow", "keras", "sklearn", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "command",
    [
        *("classifier", "language_model", "tune", "ablation"),
        *("learning_curve", "perplexity", "demo"),
    ],
)
def test_commands_import_nothing_that_takes_seconds(command):
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT, f"trainers.{command}"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
