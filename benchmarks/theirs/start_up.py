"""From nothing to the first answer of an exported learner."""

import pathlib
import tempfile

from benchmarks.start_up import seconds_of
from benchmarks.theirs.classifier import random_learner

_PROGRAM = """
import sys
from fastai.text.all import load_learner
learner = load_learner(sys.argv[1])
with learner.no_bar(), learner.no_logging():
    learner.predict("Who wrote this?")
"""


def first_prediction(vocabulary_size):
    """Returns a function that measures seconds, imports included."""
    directory = tempfile.TemporaryDirectory()
    path = pathlib.Path(directory.name) / "export.pkl"
    random_learner(vocabulary_size).export(path)
    # The function keeps the folder alive.
    return lambda: seconds_of(_PROGRAM, pathlib.Path(directory.name) / path)
