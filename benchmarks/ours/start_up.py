"""From nothing to the first answer of an exported classifier."""

import tempfile

import tensorflow as tf

from benchmarks.ours.classifier import random_classifier
from benchmarks.start_up import seconds_of
from serving.served_classifier import ServedClassifier

_PROGRAM = """
import sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
predict = model.signatures["serving_default"]
predict(text=tf.constant(["Who wrote this?"]))["label"].numpy()
"""


def first_prediction(vocabulary_size):
    """Returns a function that measures seconds, imports included."""
    served = ServedClassifier(random_classifier(vocabulary_size))
    directory = tempfile.TemporaryDirectory()
    tf.saved_model.save(served, directory.name, signatures=served.signatures())
    return lambda: seconds_of(_PROGRAM, directory.name)
