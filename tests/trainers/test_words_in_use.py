import numpy as np

from trainers.words_in_use import WordsInUse
from ulmfit_tf.data.token_cache import TokenizedCorpus
from ulmfit_tf.text import PADDING_ID, UNKNOWN_ID

_TRAIN = TokenizedCorpus.from_documents([[5, 9, 5], [7]])
_VALIDATION = TokenizedCorpus.from_documents([[9, 11]])


def _words():
    return WordsInUse((_TRAIN, _VALIDATION), vocabulary_size=20)


def test_rows_are_those_that_occur_and_what_batches_need():
    words = _words()
    assert words.rows.tolist() == [UNKNOWN_ID, PADDING_ID, 5, 7, 9, 11]
    assert len(words) == 6


def test_renumbered_ids_look_up_the_same_rows():
    embedding = np.random.default_rng(0).normal(size=(20, 3))
    words = _words()
    narrow = words.narrowed({"embedding": embedding, "other": embedding})
    assert narrow["other"] is embedding
    for corpus in (_TRAIN, _VALIDATION):
        renumbered = words.renumbered(corpus)
        assert len(renumbered) == len(corpus)
        for before, after in zip(corpus, renumbered, strict=True):
            np.testing.assert_array_equal(
                narrow["embedding"][after], embedding[before]
            )
    assert words.renumbered(_TRAIN).token_ids.dtype == np.int32


def test_a_part_of_a_corpus_is_renumbered_by_itself():
    both = TokenizedCorpus.from_documents([[5, 9], [11, 5], [3]])
    part = TokenizedCorpus(both.token_ids, both.offsets[1:3])
    words = WordsInUse((part,), 20)
    assert words.rows.tolist() == [UNKNOWN_ID, PADDING_ID, 5, 11]
    (document,) = words.renumbered(part)
    assert document.tolist() == [3, 2]


def test_widened_weights_keep_the_rows_that_were_not_trained():
    words = _words()
    encoder = {"embedding": np.arange(40, dtype="float32").reshape(20, 2)}
    trained = {"embedding": -np.ones((6, 2), "float32"), "head": np.zeros(2)}
    wide = words.widened(trained, encoder)
    assert wide["head"] is trained["head"]
    in_use = np.isin(np.arange(20), words.rows)
    assert (wide["embedding"][in_use] == -1).all()
    np.testing.assert_array_equal(
        wide["embedding"][~in_use], encoder["embedding"][~in_use]
    )
    # What training started from is still what it was.
    assert encoder["embedding"][5].tolist() == [10, 11]
    scratch = words.widened(trained, None)["embedding"]
    assert not scratch[~in_use].any() and (scratch[in_use] == -1).all()
