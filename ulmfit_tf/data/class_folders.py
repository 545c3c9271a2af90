"""Data sets kept as one folder of text files per class."""

from pathlib import Path

from ulmfit_tf.data.dataset import TextDataset
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import (
    decode,
    warn_of_undecodable,
    without_byte_order_mark,
)
from ulmfit_tf.data.tables import TABLE_SUFFIXES

UNLABELLED_FOLDERS = ("unsup", "unlabelled", "unlabeled")


def read_class_folders(path: Path) -> TextDataset:
    """Reads a folder with one subfolder of `.txt` files per class.

    The subfolders lie in `path` itself, or in `path/train` and
    `path/test`. Texts in `unsup`, `unlabelled` or `unlabeled` have no label.
    """
    train = path / "train" if (path / "train").is_dir() else path
    texts, labels = _read_classes(train)
    if not texts:
        raise DataError(
            f"`{path}` holds no data set. Expected: a `train` file "
            f"({', '.join(TABLE_SUFFIXES)}), or one subfolder of .txt files "
            "per class, in the folder itself or in `train` and `test`. "
            f"Received: {sorted(p.name for p in path.iterdir())[:10]}."
        )
    test_texts = test_labels = None
    if train != path and (path / "test").is_dir():
        test_texts, test_labels = _read_classes(path / "test")
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
    for folder in sorted(path.iterdir()):
        hidden = folder.name.startswith(".")
        if not folder.is_dir() or hidden or folder.name in UNLABELLED_FOLDERS:
            continue
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
    # Not the hidden ones: beside `1.txt` some archives hold `._1.txt`.
    files = sorted(
        file for file in folder.glob("*.txt") if not file.name.startswith(".")
    )
    texts, undecodable = [], 0
    for file in files:
        content = without_byte_order_mark(file, file.read_bytes())
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
