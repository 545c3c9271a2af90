"""A data set with some of its labels, and the texts to validate on."""

import dataclasses
import hashlib
import logging

import numpy as np

from ulmfit_tf import data

# Every run is measured on the same texts; seeds vary the rest.
_SPLIT_SEED = 0
_log = logging.getLogger("trainers")


class LabelSubsets:
    """A data set whose texts lose labels, but for those to validate on.

    No unlabelled text is one to validate on: neither of the data set's own,
    nor a copy, of the few that a split may leave, that loses its label.

    Args:
        dataset: `TextDataset`.
        validation_fraction: Float, of the labelled texts.
        largest: Int, the most labels of what reads texts without one.
        unlabelled_limit: Optional int, texts without a label that are used at
            most, beyond those of the largest size.

    Attributes:
        pool: `TextDataset` without the validation texts, among the unlabelled
            ones as well.
        validation_texts: List of str.
        validation_labels: Their labels, see `TextDataset`.
    """

    def __init__(self, dataset, validation_fraction, largest, unlabelled_limit):
        pool, self.validation_texts, self.validation_labels = (
            dataset.split_validation(validation_fraction, _SPLIT_SEED)
        )
        self.pool = self._without_validation_texts(pool)
        for note in self.pool.notes[len(pool.notes) :]:
            _log.warning(note)
        self._largest = largest
        self._limit = unlabelled_limit

    @property
    def fingerprint(self):
        """Str that differs if the texts or labels do."""
        digest = hashlib.sha256()
        for texts, labels in (
            (self.pool.train_texts, self.pool.train_labels),
            (self.validation_texts, self.validation_labels),
            (self.pool.unlabelled_texts, np.zeros(0)),
        ):
            for text in texts:
                digest.update(text.encode(errors="replace") + b"\0")
            digest.update(np.asarray(labels, "int32").tobytes())
        return digest.hexdigest()

    def labelled(self, size, seed):
        """Returns the pool with `size` labels; small sets lie within larger.

        So, with a limit on the texts without a label, all sizes have the same
        texts, and share a language model. (But for copies of validation
        texts: those that have a label with one size only.)
        """
        if size > self._largest:
            # Of a method that reads no text without a label.
            return self.pool.limit_labels(size, seed)
        largest = self._limited(self.pool, self._largest, seed)
        unlabelled = largest.unlabelled_texts
        if self._limit is not None and self._limit < len(unlabelled):
            chosen = np.random.default_rng(seed).choice(
                len(unlabelled), self._limit, replace=False
            )
            unlabelled = [unlabelled[i] for i in np.sort(chosen)]
        largest = dataclasses.replace(largest, unlabelled_texts=unlabelled)
        return self._limited(largest, size, seed)

    def _limited(self, dataset, size, seed):
        return self._without_validation_texts(dataset.limit_labels(size, seed))

    def _without_validation_texts(self, dataset):
        return data.without_held_out(
            dataset, self.validation_texts, "validation"
        )
