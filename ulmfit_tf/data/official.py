"""Readers of the registered data sets' official file formats."""

import collections
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from ulmfit_tf.data.archives import read_members
from ulmfit_tf.data.class_folders import read_class_folders
from ulmfit_tf.data.dataset import TextDataset
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import (
    decode,
    decode_lines,
    read_lines,
    warn_of_undecodable,
)
from ulmfit_tf.data.readers import read_table
from ulmfit_tf.data.tables import parse_csv

_IMDB_MEMBER = re.compile(r"(?:.*/)?(train|test)/(neg|pos|unsup)/[^/]+\.txt")


def read_trec(name: str, paths: list[Path], fine: bool = False) -> TextDataset:
    """Reads the `COARSE:fine question` lines of Li & Roth (2002).

    Args:
        name: Name of the data set.
        paths: The training and the test file, both ISO-8859-1.
        fine: Whether the classes are the 50 `COARSE:fine` ones. Not all of
            them occur in the test file.
    """

    def read(path):
        texts, labels = [], []
        for number, line in enumerate(read_lines(path, "iso-8859-1"), 1):
            label, _, question = line.strip().partition(" ")
            coarse, colon, _ = label.partition(":")
            if not (colon and question):
                raise DataError(
                    f"Line {number} of `{path}` is not of the form "
                    f"`COARSE:fine question`. Received: {line!r}. Fetch "
                    "the official file."
                )
            texts.append(question)
            labels.append(label if fine else coarse)
        return texts, labels

    return TextDataset.from_labels(name, *read(paths[0]), *read(paths[1]))


def read_imdb(name: str, paths: list[Path]) -> TextDataset:
    """Reads the Large Movie Review Dataset of Maas et al. (2011).

    Args:
        name: Name of the data set.
        paths: Its archive, or the folder extracted from it.

    Raises:
        DataError: If there are no reviews, or a file cannot be read.
    """
    (path,) = paths
    if path.is_dir():
        return dataclasses.replace(read_class_folders(path), name=name)
    reviews, undecodable = [], 0
    for member, file in read_members(path, _IMDB_MEMBER):
        text, replaced = decode(file.read())
        undecodable += replaced
        reviews.append((member, text))
    warn_of_undecodable(path, undecodable)
    # Sorted, so that the archive and its folder give the same order.
    texts: dict[str, list[str]] = collections.defaultdict(list)
    for member, text in sorted(reviews):
        split, label = member.split("/")[-3:-1]
        texts[f"{split}/{label}"].append(text)

    def labelled(split: str) -> tuple[list[str], list[str]]:
        neg, pos = texts[f"{split}/neg"], texts[f"{split}/pos"]
        return neg + pos, ["neg"] * len(neg) + ["pos"] * len(pos)

    if not labelled("train")[0]:
        raise DataError(
            f"`{path}` holds no reviews. Expected: members such as "
            "aclImdb/train/pos/0_9.txt. Fetch the official archive."
        )
    return TextDataset.from_labels(
        name, *labelled("train"), *labelled("test"), texts["train/unsup"]
    )


def read_zhang_csv(
    name: str,
    paths: list[Path],
    classes: tuple[str, ...],
    unescape: Callable[[str], str],
) -> TextDataset:
    """Reads the CSV files of Zhang, Zhao & LeCun (2015).

    Each row holds the class, counted from 1, and one or more fields. More
    than one become one text with fastai's marks: `xxfld 1 ... xxfld 2 ...`.

    Args:
        name: Name of the data set.
        paths: The training and the test file, or the archive of both.
        classes: Class names in the order of their numbers.
        unescape: Undoes the escapes that the files use inside of a field.
    """
    if len(paths) == 2:
        splits = [
            _zhang_rows(path, read_lines(path), classes, unescape)
            for path in paths
        ]
    else:
        splits = _zhang_members(paths[0], classes, unescape)
    (train_texts, train_labels), (test_texts, test_labels) = splits
    return TextDataset(
        name, classes, train_texts, train_labels, test_texts, test_labels
    )


def unescape_line_breaks(text: str) -> str:
    r"""Undoes the documented escapes, `\n` and `\"` (Yelp, DBpedia)."""
    return text.replace("\\n", "\n").replace('\\"', '"')


def unescape_ag_news(text: str) -> str:
    r"""Turns backslashes into spaces.

    AG News writes `\` for a line break, so that its `\name` is not an `n`
    less: `dwindling\band`, `by any other\name`.
    """
    return text.replace("\\", " ")


def read_questions(name: str, paths: list[Path]) -> TextDataset:
    """Reads the question set that comes with the package."""
    return TextDataset.from_labels(
        name, *read_table(paths[0]), *read_table(paths[1])
    )


def _zhang_members(path, classes, unescape):
    splits = {}
    for member, file in read_members(
        path, re.compile(r"(?:.*/)?(?:train|test)\.csv")
    ):
        where = f"{path}:{member}"
        lines = decode_lines(where, file)
        split = member.rsplit("/", 1)[-1]
        splits[split] = _zhang_rows(where, lines, classes, unescape)
    missing = {"train.csv", "test.csv"} - set(splits)
    if missing:
        raise DataError(
            f"`{path}` lacks {' and '.join(sorted(missing))}. Expected both "
            "train.csv and test.csv. Delete it and fetch the official one."
        )
    return splits["train.csv"], splits["test.csv"]


def _zhang_rows(where, lines, classes, unescape):
    # TensorFlow takes seconds to import; a mistyped name does not wait for it.
    from ulmfit_tf.text import join_fields

    texts, labels = [], []
    for line_number, (number, *fields) in parse_csv(where, lines):
        if number not in map(str, range(1, len(classes) + 1)) or not fields:
            raise DataError(
                f"Line {line_number} of `{where}` is not of the official "
                f"form: a class from 1 to {len(classes)}, then text. "
                f"Received: {[number, *fields]}. Fetch the official file; "
                "to use data of your own, pass its path as the data set."
            )
        fields = [unescape(field).strip() for field in fields]
        texts.append(join_fields(*fields) if len(fields) > 1 else fields[0])
        labels.append(int(number) - 1)
    return texts, labels
