"""Texts and documents of token ids that both sides measure with."""

import functools
import os
import pathlib
import re
import tarfile

import numpy as np

from benchmarks.synthetic import token_windows

_WORDS = re.compile(r"\w+|[^\w\s]")
_POOL = 50
_QUESTIONS = (
    pathlib.Path(__file__).parents[1] / "ulmfit_tf/data/questions/train.tsv"
)


@functools.cache
def texts(count):
    """Returns `(description, texts)`.

    IMDb reviews, in the order of the archive, where `$ULMFIT_TF_DATA` has
    them; else the questions that the project carries, forty joined to one.
    """
    archive = (
        pathlib.Path(os.environ.get("ULMFIT_TF_DATA", ""))
        / "imdb/aclImdb.tar.xz"
    )
    if archive.exists():
        reviews = []
        with tarfile.open(archive, "r|xz") as members:
            for member in members:
                if member.isfile() and re.search(
                    r"/(pos|neg)/\d+_\d+\.txt$", member.name
                ):
                    reviews.append(members.extractfile(member).read().decode())
                if len(reviews) == count:
                    return "IMDb reviews", reviews
    lines = _QUESTIONS.read_text().splitlines()
    lines = [line.replace("\t", " ") for line in lines]
    joined = [
        " ".join(lines[(40 * i + j) % len(lines)] for j in range(40))
        for i in range(count)
    ]
    return "embedded questions, joined", joined


def token_documents(count, vocabulary_size):
    """Returns documents of token ids, as long as `texts` have words."""
    return _documents(_lengths(count), vocabulary_size)


def training_documents(batches, batch, vocabulary_size):
    """Returns the documents of some batches as an epoch has them.

    Both sides sort by length within pools of 50 batches, so a batch holds
    documents of like length. Of such a pool these are some batches, equally
    far apart.

    Args:
        batches: Int, how many.
        batch: Int, documents of a batch.
        vocabulary_size: Int.
    """
    pool = np.sort(_lengths(_POOL * batch)).reshape(_POOL, batch)
    chosen = ((np.arange(batches) + 0.5) * _POOL / batches).astype(int)
    return _documents(pool[chosen].ravel(), vocabulary_size)


def _lengths(count):
    return [len(_WORDS.findall(text)) + 1 for text in texts(count)[1]]


def _documents(lengths, vocabulary_size):
    ids = token_windows(vocabulary_size, 1, sum(lengths))[0]
    return np.split(ids, np.cumsum(lengths)[:-1])


def single_text(kind):
    """Returns a question of ten words, or a text of about 300."""
    if kind == "question":
        return "What is the capital of the smallest state ?"
    return min(texts(64)[1], key=lambda text: abs(len(text.split()) - 270))
