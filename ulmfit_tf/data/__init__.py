"""Data sets for classification and corpora for pretraining."""

from ulmfit_tf.data.corpus import (
    CORPORA,
    corpus_files,
    fingerprint,
    iter_documents,
)
from ulmfit_tf.data.dataset import TextDataset
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.registry import DATASETS, load_dataset
from ulmfit_tf.data.splits import (
    limit_labels,
    repeated_texts,
    split_validation,
    without_held_out,
)
from ulmfit_tf.data.task_type import LABEL_SEPARATOR, TaskType

__all__ = [
    "CORPORA",
    "DATASETS",
    "LABEL_SEPARATOR",
    "DataError",
    "TaskType",
    "TextDataset",
    "corpus_files",
    "fingerprint",
    "iter_documents",
    "limit_labels",
    "load_dataset",
    "repeated_texts",
    "split_validation",
    "without_held_out",
]
