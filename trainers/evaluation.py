"""A classifier's answers on whole splits, read once and kept on disk."""

import dataclasses
import hashlib
import logging

import numpy as np

from trainers.report import Predictions
from ulmfit_tf.whole_files import write_arrays

_log = logging.getLogger("trainers")


class Evaluation:
    """A classifier's answers on whole splits, which take long on large ones.

    Probabilities of each direction are kept in the run folder, so that none is
    read twice, and a run that is killed does not begin anew.

    Args:
        classifier: `TrainedClassifier`.
        directory: `pathlib.Path` of the run folder.
        prefix: Str, before the names of what is kept; one for each classifier
            of a run.
    """

    def __init__(self, classifier, directory, prefix=""):
        self.classifier = classifier
        self.directory = directory
        self.prefix = prefix

    def answers(self, split, texts, labels, decision=None, directions=None):
        """Returns `Predictions`, by default of the mean of all directions."""
        return Predictions.judged(
            split,
            texts,
            labels,
            self.probabilities(split, texts, directions),
            decision or self.classifier.decision,
        )

    def probabilities(self, split, texts, directions=None):
        """Returns the mean of directions, float array `(texts, classes)`."""
        directions = directions or self.classifier.weights
        return np.mean(
            [self._of_direction(split, texts, each) for each in directions],
            axis=0,
        )

    def _of_direction(self, split, texts, direction):
        name = f"{self.prefix}{split}_probabilities.npz"
        path = self.directory / direction / name
        digest = _digest(texts)
        if path.exists():
            with np.load(path, allow_pickle=False) as file:
                # Another release may draw other texts to label.
                if str(file["digest"]) == digest:
                    return file["probabilities"]
        _log.info(
            "%s: reading the %d texts of the %s split",
            direction,
            len(texts),
            split,
        )
        alone = dataclasses.replace(
            self.classifier,
            weights={direction: self.classifier.weights[direction]},
        )
        probabilities = alone.predict(texts)
        write_arrays(
            path, {"probabilities": probabilities, "digest": np.array(digest)}
        )
        return probabilities


def _digest(texts):
    content = "\0".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()
