"""fastai's vocabularies, and ours."""

import numpy as np

from ulmfit_tf import text
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.pretrained.pickle_reader import Call, read_pickle

# Names of fastai 0.7, which the authors' own models have.
_OLD_SPECIAL_TOKENS = {
    "_unk_": "xxunk",
    "_pad_": "xxpad",
    "xbos": "xxbos",
    "xfld": "xxfld",
    "tk_rep": "xxrep",
    "tk_wrep": "xxwrep",
    "t_up": "xxup",
}
_L = "fastcore.foundation.L"
_VOCABULARY_NAMES = (_L, "builtins.int", "__builtin__.int", "__builtin__.long")


def read_words(file, where):
    """Reads fastai's vocabulary, an `itos.pkl`, as a list of str.

    Takes a list, fastai's `L`, or a dict of ids by word.

    Raises:
        DataError: If it holds anything else.
    """
    if file.read(2) == b"PK":
        raise DataError(
            f"`{where}` is a whole learner (`learn.export`), not a "
            "vocabulary. In fastai, save the weights with `learn.save` and "
            "the vocabulary with `save_pickle('itos.pkl', learn.dls.vocab)`."
        )
    file.seek(0)
    words = read_pickle(file, where, _VOCABULARY_NAMES)
    if isinstance(words, Call) and isinstance(words.state, dict):
        words = words.state.get("items")
    if isinstance(words, dict) and sorted(
        value for value in words.values() if type(value) is int
    ) == list(range(len(words))):
        words = sorted(words, key=words.get)
    if not isinstance(words, (list, tuple)) or not all(
        type(word) is str for word in words
    ):
        raise DataError(
            f"`{where}` is not a vocabulary. Expected: a pickled list of "
            "words, fastai's `itos.pkl` or `vocab.pkl`."
        )
    return list(words)


def our_vocabulary(words, where):
    """Returns our `Vocabulary` and fastai's id of each of its tokens.

    The special tokens go to the front, in our order (fastai 1 has another);
    the rest keeps its order. Words that our tokenizer can never produce
    (line breaks, the shadowed one of two equal words) keep their weights
    under a name of their own, so that probabilities stay what they were.

    Args:
        words: List of str, fastai's `itos`.
        where: What the words come from, for messages.

    Returns:
        `(vocabulary, source_ids)`; an id is -1 where fastai lacks a special
        token.

    Raises:
        DataError: If the words are not fastai's.
    """
    words = [_OLD_SPECIAL_TOKENS.get(word, word) for word in words]
    # Of equal words fastai looks up the last.
    ids = {word: index for index, word in enumerate(words)}
    if "xxunk" not in ids:
        raise DataError(
            f"`{where}`: the vocabulary has no `xxunk`, so it is not "
            "fastai's. Give the `itos.pkl` that was saved with the weights."
        )
    pieces = sum(word.startswith("▁") for word in words)
    if pieces > len(words) / 10:
        raise DataError(
            f"`{where}`: {pieces} of the {len(words)} words begin with `▁`: "
            "the vocabulary is of SentencePiece pieces. Only models of words "
            "can be imported."
        )
    tokens, number = list(text.SPECIAL_TOKENS), 0
    source_ids = [ids.get(token, -1) for token in tokens]
    taken = {*words, *tokens}
    for index, word in enumerate(words):
        if word in text.SPECIAL_TOKENS and ids[word] == index:
            continue
        if ids[word] != index or not _is_storable(word):
            while (word := f"xxfake{number}") in taken:
                number += 1
            number += 1
        tokens.append(word)
        source_ids.append(index)
    return text.Vocabulary(tokens), np.array(source_ids)


def _is_storable(word):
    return (
        bool(word)
        and not {"\n", "\r"} & set(word)
        and word == word.encode("utf-8", "ignore").decode("utf-8")
    )


def is_cased(words):
    """Returns whether words have capitals; by default fastai's have none."""
    return sum(word != word.lower() for word in words) > len(words) / 20
