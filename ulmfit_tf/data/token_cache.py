"""Token ids of a corpus, kept on disk as flat arrays."""

import contextlib
import dataclasses
import errno
import glob
import itertools
import json
import os
import pathlib
import shutil
import tempfile
import time

import numpy as np

from ulmfit_tf.data.errors import DataError

_VERSION = 1
# A folder that is being written gets new tokens all the time.
_ABANDONED_AFTER_SECONDS = 86_400


@dataclasses.dataclass(frozen=True)
class TokenizedCorpus:
    """Documents as one flat array of token ids and their boundaries.

    Attributes:
        token_ids: Int array `(tokens,)`; may be memory-mapped, and of any
            width.
        offsets: Int64 array `(documents + 1,)`; document `i` is
            `token_ids[offsets[i]:offsets[i + 1]]`.
    """

    token_ids: np.ndarray
    offsets: np.ndarray

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, index):
        return self.token_ids[self.offsets[index] : self.offsets[index + 1]]

    @property
    def num_tokens(self):
        """Int, tokens of all documents."""
        return int(self.offsets[-1] - self.offsets[0])

    @property
    def lengths(self):
        """Int64 array `(documents,)`, tokens of each document."""
        return np.diff(self.offsets)

    @classmethod
    def from_documents(cls, documents):
        """Builds a corpus in memory from a sequence of id arrays."""
        lengths = [len(document) for document in documents]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype="int64")])
        ids = np.concatenate([np.zeros(0, "int32"), *documents])
        return cls(ids.astype("int32", copy=False), offsets)

    def select(self, indices):
        """Returns a corpus of the documents at `indices`, in that order."""
        return self.from_documents([self[i] for i in indices])


def tokenize_corpus(texts, tokenizer, batch_size=256):
    """Tokenizes an iterable of strings in memory.

    Args:
        texts: Iterable of str.
        tokenizer: Callable from a list of strings to a ragged int tensor. A
            `tf.function` is called as it is, so that whoever keeps one traces
            it only once.
        batch_size: Int, texts handed to the tokenizer at once.

    Returns:
        A `TokenizedCorpus`.
    """
    documents = []
    for ids, lengths in _tokenized_batches(texts, tokenizer, batch_size):
        documents.extend(np.split(ids, np.cumsum(lengths)[:-1]))
    return TokenizedCorpus.from_documents(documents)


def cached_corpus(directory, fingerprint, texts, tokenizer, batch_size=64):
    """Tokenizes a corpus once; later calls map the result from disk.

    The ids are streamed to disk, so memory does not grow with the corpus.

    Args:
        directory: Path of the cache, for this corpus alone.
        fingerprint: Str that changes when the tokenizer or the corpus does.
            A cache with another fingerprint is made anew.
        texts: Callable without arguments that returns an iterable of str.
        tokenizer: Callable from a list of strings to a ragged int tensor.
        batch_size: Int, texts handed to the tokenizer at once.

    Returns:
        A `TokenizedCorpus` whose `token_ids` are memory-mapped.

    Raises:
        DataError: If the cache cannot be written.
    """
    directory = pathlib.Path(directory)
    description = {"version": _VERSION, "fingerprint": fingerprint}
    if _is_cached(directory, description):
        return _load(directory)
    try:
        _write(directory, description, texts, tokenizer, batch_size)
    except OSError as error:
        raise unwritable(directory, error) from error
    return _load(directory)


def check_writable(directory):
    """Raises `DataError` if a cache folder cannot be made or written to."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise unwritable(directory, error) from error


def unwritable(directory, error):
    """Returns the `DataError` of a cache that cannot be written."""
    return DataError(
        f"The cache `{directory}` cannot be written: {error}. Make room "
        "there, or set `XDG_CACHE_HOME` to a folder that you may write to."
    )


def _write(directory, description, texts, tokenizer, batch_size):
    directory.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(directory)
    beside = pathlib.Path(
        tempfile.mkdtemp(prefix=directory.name, dir=directory.parent)
    )
    try:
        parts = [np.zeros(0, "int64")]
        with open(beside / "token_ids.int32", "wb") as file:
            for ids, batch in _tokenized_batches(
                texts(), tokenizer, batch_size
            ):
                file.write(ids.astype("<i4").tobytes())
                parts.append(batch)
        lengths = np.concatenate(parts)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype="int64")])
        np.save(beside / "offsets.npy", offsets)
        (beside / "corpus.json").write_text(json.dumps(description))
        # `mkdtemp` makes folders that nobody else may read.
        os.chmod(beside, 0o755)
        _put_in_place(beside, directory, description)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _put_in_place(beside, directory, description):
    """Renames a cache, unless another process has just made the same one."""
    while not _is_cached(directory, description):
        with contextlib.suppress(OSError):
            os.replace(beside, directory)
            return
        # There is an old one, which another process may have mapped: it is
        # renamed, then removed.
        with tempfile.TemporaryDirectory(dir=directory.parent) as old:
            with contextlib.suppress(FileNotFoundError):
                os.replace(directory, old)
            # Another process may have replaced it meanwhile.
            is_new = _is_cached(pathlib.Path(old), description)
            try:
                os.replace(old if is_new else beside, directory)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
    shutil.rmtree(beside, ignore_errors=True)


def _is_cached(directory, description):
    return _describes(directory / "corpus.json", description) and _is_whole(
        directory
    )


def _tokenized_batches(texts, tokenizer, batch_size):
    """Yields `(ids, lengths)`: a batch's ids, flat, and their numbers."""
    # Only here, so that ids can be read without TensorFlow.
    import tensorflow as tf

    if not isinstance(tokenizer, tf.types.experimental.PolymorphicFunction):
        signature = [tf.TensorSpec([None], tf.string)]
        tokenizer = tf.function(tokenizer, input_signature=signature)
    texts = iter(texts)
    while batch := list(itertools.islice(texts, batch_size)):
        ragged = tokenizer(tf.constant(batch))
        lengths = ragged.row_lengths().numpy()
        yield ragged.flat_values.numpy().astype("int32"), lengths


def _describes(path, description):
    try:
        return json.loads(path.read_text()) == description
    except (OSError, ValueError):
        return False


def _is_whole(directory):
    """Whether the tokens are as many as the documents' boundaries say."""
    try:
        offsets = np.load(directory / "offsets.npy")
        size = (directory / "token_ids.int32").stat().st_size
        return size == 4 * offsets[-1]
    except (OSError, ValueError, IndexError):
        return False


def _remove_abandoned(directory):
    """Removes what killed processes were writing beside a cache's place."""
    # `mkdtemp` adds eight characters.
    for path in directory.parent.glob(f"{glob.escape(directory.name)}????????"):
        try:
            newest = max(
                each.stat().st_mtime for each in (path, *path.glob("*"))
            )
        except FileNotFoundError:
            # It has just been put in its place.
            continue
        if time.time() - newest > _ABANDONED_AFTER_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _load(directory):
    offsets = np.load(directory / "offsets.npy")
    path = directory / "token_ids.int32"
    if offsets[-1] == 0:
        return TokenizedCorpus(np.zeros(0, "int32"), offsets)
    return TokenizedCorpus(np.memmap(path, dtype="<i4", mode="r"), offsets)
