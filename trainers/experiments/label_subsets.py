"""A data set with some of its labels, and the texts to validate on."""

import dataclasses
import hashlib

import numpy as np

# Every run is measured on the same texts; seeds vary the rest.
_SPLIT_SEED = 0


class LabelSubsets:
    """A data set whose texts lose labels, but for those to validate on.

    Args:
        dataset: `TextDataset`.
        validation_fraction: Float, of the labelled texts.
        largest: Int, the most labels of what reads texts without one.
        unlabelled_limit: Optional int, texts without a label that are used at
            most, beyond those of the largest size.

    Attributes:
        pool: `TextDataset` without the validation texts.
        validation_texts: List of str.
        validation_labels: Their labels, see `TextDataset`.
    """

    def __init__(self, dataset, validation_fraction, largest, unlabelled_limit):
        self.pool, self.validation_texts, self.validation_labels = (
            dataset.split_validation(validation_fraction, _SPLIT_SEED)
        )
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
        texts, and share a language model.
        """
        if size > self._largest:
            # Of a method that reads no text without a label.
            return self.pool.limit_labels(size, seed)
        largest = self.pool.limit_labels(self._largest, seed)
        unlabelled = largest.unlabelled_texts
        if self._limit is not None and self._limit < len(unlabelled):
            chosen = np.random.default_rng(seed).choice(
                len(unlabelled), self._limit, replace=False
            )
            unlabelled = [unlabelled[i] for i in np.sort(chosen)]
        largest = dataclasses.replace(largest, unlabelled_texts=unlabelled)
        return largest.limit_labels(size, seed)
