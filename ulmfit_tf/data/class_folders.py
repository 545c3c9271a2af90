"""Data sets kept as one folder of text files per class."""

import logging
from pathlib import Path

from ulmfit_tf.data.dataset import TextDataset
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import (
    decode,
    open_binary,
    warn_of_undecodable,
    without_byte_order_mark,
)
from ulmfit_tf.data.tables import TABLE_SUFFIXES

logger = logging.getLogger(__name__)
UNLABELLED_FOLDERS = ("unsup", "unlabelled", "unlabeled")


def read_class_folders(path: Path) -> TextDataset:
    """Reads a folder with one subfolder of `.txt` files per class.

    The subfolders lie in `path` itself, or in `path/train` and
    `path/test`. Texts in `unsup`, `unlabelled` or `unlabeled` have no label.

    Raises:
        DataError: If there are no texts, a folder that should hold some holds
            none, or a file cannot be read.
    """
    train = path / "train"
    # Without subfolders it is a class of that name.
    if not (train.is_dir() and any(map(_is_class, _entries(train)))):
        train = path
    texts, labels = _read_classes(train)
    if not texts:
        raise DataError(
            f"`{path}` holds no data set. Expected: a `train` file "
            f"({', '.join(TABLE_SUFFIXES)}), or one subfolder of .txt files "
            "per class, in the folder itself or in `train` and `test`. "
            f"Received: {[entry.name for entry in _entries(path)][:10]}."
        )
    test_texts = test_labels = None
    if train != path:
        if (path / "test").is_dir():
            test_texts, test_labels = _read_classes(path / "test")
            if not test_texts:
                raise DataError(
                    f"`{path / 'test'}` holds no subfolders of .txt files. "
                    "Expected: one per class, as in `train`. Texts without a "
                    "label belong in a folder `unlabelled` beside it; without "
                    "`test`, test texts are held out of `train`."
                )
        known = {"train", "test", *UNLABELLED_FOLDERS}
        _tell_of_others(
            path, [each for each in _entries(path) if each.name not in known]
        )
    unlabelled = [
        text
        for folder in dict.fromkeys((train, path))
        for name in UNLABELLED_FOLDERS
        for text in _read_text_files(folder / name)
    ]
    return TextDataset.from_labels(
        path.name, texts, labels, test_texts, test_labels, unlabelled
    )


def _read_classes(path):
    texts, labels = [], []
    entries = _entries(path)
    _tell_of_others(
        path,
        [
            *_hidden_classes(path),
            *(each for each in entries if not each.is_dir()),
        ],
    )
    for folder in filter(_is_class, entries):
        of_class = _read_text_files(folder)
        if not of_class:
            raise DataError(
                f"Class folder `{folder}` holds no .txt file. Expected one "
                "file per text. Add some, or remove the folder."
            )
        texts.extend(of_class)
        labels.extend([folder.name] * len(of_class))
    return texts, labels


def _read_text_files(folder):
    if not folder.is_dir():
        return []
    entries = _entries(folder)
    files = [
        each
        for each in entries
        if each.suffix.lower() == ".txt" and not each.is_dir()
    ]
    _tell_of_others(folder, sorted({*entries} - {*files}))
    texts, undecodable = [], 0
    for file in files:
        with open_binary(file) as opened:
            content = without_byte_order_mark(file, opened.read())
        text, replaced = decode(content)
        undecodable += replaced
        texts.append(text)
    warn_of_undecodable(folder, undecodable)
    empty = [
        file.name
        for file, text in zip(files, texts, strict=True)
        if not text.strip()
    ]
    if empty:
        raise DataError(
            f"{len(empty)} files of `{folder}` are empty: {empty[:5]}. "
            "Expected a text in each. Remove them."
        )
    return texts


def _entries(folder):
    """Returns what a folder holds, sorted, without the hidden.

    Beside `1.txt` some archives hold `._1.txt`.
    """
    try:
        return sorted(
            entry
            for entry in folder.iterdir()
            if not entry.name.startswith(".")
        )
    except OSError as error:
        raise DataError(
            f"`{folder}` could not be read: {error}. Check its permissions."
        ) from error


def _hidden_classes(path):
    """Returns folders that a dot at the beginning keeps from being read."""
    return sorted(
        entry
        for entry in path.glob(".*")
        if entry.is_dir() and any(entry.glob("*.txt"))
    )


def _is_class(entry):
    return entry.is_dir() and entry.name not in UNLABELLED_FOLDERS


def _tell_of_others(folder, others):
    """Logs what of a folder is not read."""
    if others:
        logger.warning(
            "%s: not read: %s. Texts are taken from .txt files in folders of "
            "classes.",
            folder,
            ", ".join(each.name for each in others[:10])
            + ", ..." * (len(others) > 10),
        )
