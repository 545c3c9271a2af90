"""Data sets of TensorFlow Datasets, as `tfds:NAME`."""

import contextlib
import dataclasses
import difflib
import logging
import sys
from pathlib import Path

import numpy as np

from ulmfit_tf.data.dataset import TextDataset
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.sources import data_roots

logger = logging.getLogger(__name__)
# The first with labels is the test split.
_TEST_SPLITS = ("test", "validation")
UNLABELLED_SPLITS = ("unsupervised", "unlabelled", "unlabeled")


def read_tfds(
    name: str,
    data_dir: str | Path | None = None,
    text_feature: str | None = None,
    label_feature: str | None = None,
) -> TextDataset:
    """Reads a text classification data set of TensorFlow Datasets.

    Uses the splits `train`, `test` and `unsupervised`. A test split whose
    labels are hidden (-1, as in GLUE) counts as none; the split `validation`
    then is the test split, as usual for GLUE, and a note says so.

    Args:
        name: Name as `tfds.builder` takes it, such as `imdb_reviews` or
            `glue/sst2`.
        data_dir: Folder to look for the prepared data set in, before
            `$ULMFIT_TF_DATA` and TensorFlow Datasets' own folder
            (`$TFDS_DATA_DIR` or `~/tensorflow_datasets`), where it is
            prepared if need be.
        text_feature: Feature that holds the text; default: `text`, or the
            only text.
        label_feature: Feature that holds the label; default: `label`, or
            the first class label.

    Raises:
        DataError: If there is no such data set, it has no text, several or
            no label, or it could not be downloaded.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"`tfds:{name}` needs TensorFlow Datasets, which could not be "
            f"imported: {error}. Install it: pip install tensorflow-datasets."
        ) from error
    builder = _builder(tfds, name, data_dir)
    features = dict(builder.info.features.items())
    label_feature = _choose(
        name, features, "label", label_feature, tfds.features.ClassLabel
    )
    others = {key: features[key] for key in features if key != label_feature}
    if text_feature == label_feature:
        raise DataError(
            f"`tfds:{name}`: the feature `{label_feature}` is the label, so it "
            "cannot be the text as well. Name others with `--text-column` or "
            f"`--label-column`. Its features are {features}."
        )
    text_feature = _choose(
        name, others, "text", text_feature, tfds.features.Text
    )
    try:
        # It prints on standard output, which belongs to results.
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except Exception as error:
        raise DataError(
            f"TensorFlow Datasets could not download or prepare `{name}`: "
            f"{type(error).__name__}: {error}. Prepare it on a machine with "
            f"network (`tfds build {name}`) and pass its folder as "
            "`--data-dir`, or set TFDS_DATA_DIR. To try the project without "
            "network, use `--dataset questions`."
        ) from error

    def read(split):
        rows = tfds.as_numpy(builder.as_dataset(split=split))
        pairs = [(row[text_feature], row[label_feature]) for row in rows]
        texts = [text.decode("utf-8", "replace") for text, _ in pairs]
        return texts, [label for _, label in pairs]

    splits = builder.info.splits
    if "train" not in splits:
        raise DataError(
            f"`tfds:{name}` has no `train` split. Received: {list(splits)}. "
            "Choose another data set."
        )
    unlabelled = [
        text
        for split in UNLABELLED_SPLITS
        if split in splits
        for text in read(split)[0]
    ]
    classes = getattr(features[label_feature], "names", None)
    test_split, test = _labelled_test_split(splits, read, classes)
    used = {"train", test_split, *UNLABELLED_SPLITS}
    _tell_of_others(name, sorted({*splits} & used), sorted({*splits} - used))
    dataset = _dataset(f"tfds:{name}", classes, read("train"), test, unlabelled)
    if test_split in (None, "test"):
        return dataset
    note = (
        f"`tfds:{name}` has no test split with labels: its `{test_split}` "
        "split is the test split here."
    )
    return dataclasses.replace(dataset, notes=(*dataset.notes, note))


def _labelled_test_split(splits, read, classes):
    """Returns the split's name, or `None`, and its texts and labels."""
    for split in _TEST_SPLITS:
        if split in splits:
            texts, labels = read(split)
            is_hidden = classes and labels and max(labels) < 0
            if not is_hidden:
                return split, (texts, labels)
    return None, (None, None)


def _tell_of_others(name, used, others):
    """Logs which splits are not among those used."""
    if others:
        logger.warning(
            "`tfds:%s`: not used, or their labels are hidden: %s. Texts are "
            "taken from %s; a validation split is made of `train`.",
            name,
            ", ".join(others),
            ", ".join(used),
        )


def _dataset(name, classes, train, test, unlabelled):
    texts, labels = train
    test_texts, test_labels = test
    if not classes:
        return TextDataset.from_labels(
            name,
            texts,
            [_label_name(label) for label in labels],
            test_texts,
            test_labels and [_label_name(label) for label in test_labels],
            unlabelled,
        )
    if min(labels) < 0:
        raise DataError(
            f"Training labels of `{name}` are hidden (-1). Expected labels "
            f"from 0 to {len(classes) - 1}. Choose another data set."
        )
    return TextDataset(
        name, classes, texts, labels, test_texts, test_labels, unlabelled
    )


def _label_name(label):
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace")
    return str(np.asarray(label).item())


def _builder(tfds, name, data_dir):
    # Checked first, as `tfds.builder` may ask the network for unknown names.
    base = name.split("/")[0].split(":")[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        near = difflib.get_close_matches(base, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise DataError(
            f"TensorFlow Datasets {tfds.__version__} has no data set "
            f"`{base}`.{hint} Its catalogue is at "
            "https://www.tensorflow.org/datasets/catalog."
        )
    try:
        for root in data_roots(data_dir):
            builder = tfds.builder(name, data_dir=root)
            if builder.is_prepared():
                return builder
        return tfds.builder(name)
    except (ValueError, AssertionError, ImportError) as error:
        raise DataError(
            f"TensorFlow Datasets cannot build `{name}`: {error}. Expected "
            "NAME, NAME/CONFIG or NAME:VERSION."
        ) from error


def _choose(name, features, what, wanted, usual_type):
    first = features.get(wanted or what)
    # A label may also be a plain number or string.
    if isinstance(first, usual_type) or (
        first is not None and what == "label" and first.shape == ()
    ):
        return wanted or what
    usual = [key for key in features if isinstance(features[key], usual_type)]
    if wanted is None and len(usual) > 1 and what == "text":
        # Such as pairs of sentences: one alone does not tell the label.
        raise DataError(
            f"`tfds:{name}` has several text features: "
            f"{', '.join(f'`{key}`' for key in usual)}. Expected one, as one "
            "is read. Name it with `--text-column`, or choose another data "
            "set if the label is not told by one alone."
        )
    if wanted is None and usual:
        return usual[0]
    raise DataError(
        f"`tfds:{name}` has no {what} feature"
        + (f" `{wanted}`" if wanted else "")
        + f". Its features are {features}. Name the right one with "
        f"`--{what}-column`, or choose another data set."
    )
