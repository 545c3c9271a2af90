"""Token ids on disk: made once, whole or not at all."""

import errno
import os
import time

import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.token_cache import (
    TokenizedCorpus,
    cached_corpus,
    tokenize_corpus,
)

TEXTS = ["3 4 5", "", "6", "7 8", "9 10 11 12"]
DOCUMENTS = [[3, 4, 5], [], [6], [7, 8], [9, 10, 11, 12]]


def tokenizer(texts):
    return tf.strings.to_number(tf.strings.split(texts), tf.int32)


def as_lists(corpus):
    return [corpus[i].tolist() for i in range(len(corpus))]


def make(directory, texts=TEXTS, fingerprint="a", **kwargs):
    """Returns the documents and how often the texts were asked for."""
    asked = []

    def read():
        asked.append(1)
        yield from texts

    corpus = cached_corpus(directory, fingerprint, read, tokenizer, **kwargs)
    return corpus, len(asked)


def test_a_corpus_is_a_sequence_of_documents():
    corpus = TokenizedCorpus.from_documents(
        [np.array(ids, "int64") for ids in DOCUMENTS]
    )
    assert len(corpus) == 5
    assert as_lists(corpus) == DOCUMENTS
    assert corpus.lengths.tolist() == [3, 0, 1, 2, 4]
    assert corpus.offsets.tolist() == [0, 3, 3, 4, 6, 10]
    assert corpus.token_ids.dtype == np.int32
    assert as_lists(corpus.select([4, 1, 0])) == [
        DOCUMENTS[i] for i in (4, 1, 0)
    ]


def test_no_documents_are_a_corpus_too():
    corpus = TokenizedCorpus.from_documents([])
    assert (len(corpus), corpus.offsets.tolist()) == (0, [0])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_of_texts_do_not_show(batch_size, tmp_path):
    corpus = tokenize_corpus(iter(TEXTS), tokenizer, batch_size)
    assert as_lists(corpus) == DOCUMENTS
    corpus, _ = make(tmp_path / "cache", batch_size=batch_size)
    assert as_lists(corpus) == DOCUMENTS


def test_a_tf_function_is_called_as_it_is(monkeypatch):
    """Another one around it would be traced for each corpus."""
    kept = tf.function(
        tokenizer, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    monkeypatch.setattr(tf, "function", None)
    assert as_lists(tokenize_corpus(TEXTS, kept)) == DOCUMENTS


def test_texts_are_tokenized_once(tmp_path):
    first, asked = make(tmp_path / "deep" / "cache")
    again, asked_again = make(tmp_path / "deep" / "cache", texts=["1"])
    assert (asked, asked_again) == (1, 0)
    assert as_lists(first) == as_lists(again) == DOCUMENTS
    assert isinstance(again.token_ids, np.memmap)
    assert os.listdir(tmp_path / "deep") == ["cache"]


def test_another_fingerprint_makes_the_cache_anew(tmp_path):
    make(tmp_path / "cache")
    corpus, asked = make(tmp_path / "cache", ["2 1"], fingerprint="b")
    assert (as_lists(corpus), asked) == ([[2, 1]], 1)
    assert os.listdir(tmp_path) == ["cache"]


@pytest.mark.parametrize("description", ["", "{", "[]", '{"version": 0}'])
def test_an_unreadable_description_makes_the_cache_anew(description, tmp_path):
    make(tmp_path / "cache")
    (tmp_path / "cache" / "corpus.json").write_text(description)
    corpus, asked = make(tmp_path / "cache")
    assert (as_lists(corpus), asked) == (DOCUMENTS, 1)


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_an_empty_corpus_can_be_cached(texts, tmp_path):
    make(tmp_path / "cache", texts)
    corpus, asked = make(tmp_path / "cache", texts)
    assert (len(corpus), corpus.offsets[-1], asked) == (len(texts), 0, 0)


def test_a_death_half_way_leaves_nothing(tmp_path):
    def dying():
        yield from TEXTS[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_corpus(tmp_path / "cache", "a", dying, tokenizer, batch_size=2)
    assert os.listdir(tmp_path) == []
    make(tmp_path / "cache", ["2 1"])
    # A cache that is there survives the attempt to make another.
    with pytest.raises(KeyboardInterrupt):
        cached_corpus(tmp_path / "cache", "b", dying, tokenizer, batch_size=2)
    assert os.listdir(tmp_path) == ["cache"]
    corpus, asked = make(tmp_path / "cache")
    assert (as_lists(corpus), asked) == ([[2, 1]], 0)


@pytest.mark.parametrize("size", [0, 39, 44])
def test_tokens_that_were_cut_short_are_made_anew(tmp_path, size):
    make(tmp_path / "cache")
    path = tmp_path / "cache" / "token_ids.int32"
    # Ten tokens of four bytes.
    path.write_bytes((path.read_bytes() * 2)[:size])
    corpus, asked = make(tmp_path / "cache")
    assert (as_lists(corpus), asked) == (DOCUMENTS, 1)


def test_what_killed_processes_left_is_removed(tmp_path):
    for name, days in (("cache12345678", 2), ("cacheabcdefgh", 0)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "token_ids.int32").write_bytes(b"some")
        then = time.time() - days * 86_400 - 60
        for path in (folder / "token_ids.int32", folder):
            os.utime(path, (then, then))
    make(tmp_path / "cache")
    # The other one may be another process' that is at work.
    assert sorted(os.listdir(tmp_path)) == ["cache", "cacheabcdefgh"]


def test_two_processes_that_make_the_same_cache_share_it(tmp_path):
    """The second is done while the first is still reading."""
    folder, seen = tmp_path / "cache", []

    def read():
        yield from TEXTS
        seen.append(make(folder)[0])
        seen.append(os.stat(folder).st_ino)

    mine = cached_corpus(folder, "a", read, tokenizer)
    other, inode = seen
    # What the other has mapped is left to it.
    assert os.stat(folder).st_ino == inode
    assert as_lists(mine) == as_lists(other) == DOCUMENTS
    assert os.listdir(tmp_path) == ["cache"]


def test_a_cache_that_appears_at_the_last_moment_is_taken(
    tmp_path, monkeypatch
):
    """Between the look for it and the renaming."""
    folder, replace, other = tmp_path / "cache", os.replace, []

    def too_late(source, target):
        if str(target) == str(folder) and not other:
            other.append(1)
            make(folder)
        replace(source, target)

    monkeypatch.setattr(os, "replace", too_late)
    corpus, _ = make(folder)
    assert other and as_lists(corpus) == DOCUMENTS
    assert os.listdir(tmp_path) == ["cache"]


def test_a_new_cache_is_not_moved_away_with_the_old_one(tmp_path, monkeypatch):
    """Another process replaces the old one just before this one does."""
    folder, replace, other = tmp_path / "cache", os.replace, []
    make(folder, fingerprint="old")

    def late(source, target):
        if str(source) == str(folder) and not other:
            other.append(1)
            monkeypatch.setattr(os, "replace", replace)
            make(folder)
            other.append(os.stat(folder).st_ino)
            monkeypatch.setattr(os, "replace", late)
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    corpus, _ = make(folder)
    assert as_lists(corpus) == DOCUMENTS
    assert os.stat(folder).st_ino == other[1]
    assert os.listdir(tmp_path) == ["cache"]


def test_others_may_read_a_cache(tmp_path):
    make(tmp_path / "cache")
    assert (tmp_path / "cache").stat().st_mode & 0o755 == 0o755


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match="No space left.*XDG_CACHE_HOME"):
        make(tmp_path / "cache")
    assert os.listdir(tmp_path) == []
