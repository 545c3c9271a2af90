"""Stage three on the words that its texts have, in place of all that are known.

A pretrained vocabulary has tens of thousands of words, a few thousand short
texts use a fifth of them. The others get no gradient, but an optimizer's step
reads and writes their rows and moments as well.
"""

import functools

import numpy as np

from ulmfit_tf.data.token_cache import TokenizedCorpus
from ulmfit_tf.text import PADDING_ID, UNKNOWN_ID


class WordsInUse:
    """The rows of a vocabulary that some corpora use, numbered from 0.

    The unknown word and padding keep their ids.

    Args:
        corpora: Iterable of `TokenizedCorpus`.
        vocabulary_size: Int.
    """

    def __init__(self, corpora, vocabulary_size):
        self.vocabulary_size = vocabulary_size
        in_use = np.zeros(vocabulary_size, "bool")
        in_use[[UNKNOWN_ID, PADDING_ID]] = True
        for corpus in corpora:
            in_use[_token_ids(corpus)] = True
        self.rows = np.flatnonzero(in_use)

    def __len__(self):
        return len(self.rows)

    def renumbered(self, corpus):
        """Returns a `TokenizedCorpus` with these rows' numbers for ids."""
        ids = self._numbers[_token_ids(corpus)]
        return TokenizedCorpus(ids, corpus.offsets - corpus.offsets[0])

    def narrowed(self, weights):
        """Returns an encoder's weights with these rows of its embedding."""
        return {**weights, "embedding": weights["embedding"][self.rows]}

    def widened(self, weights, encoder):
        """Returns trained weights with a row for every word.

        Args:
            weights: Dict of arrays; its embedding has these rows.
            encoder: Dict of arrays that training started from, whose other
                rows stay; or `None`: words that were never read are zero, as
                the dropped ones are in training.
        """
        trained = weights["embedding"]
        if encoder is None:
            embedding = np.zeros(
                (self.vocabulary_size, trained.shape[1]), trained.dtype
            )
        else:
            embedding = encoder["embedding"].astype(trained.dtype)
        embedding[self.rows] = trained
        return {**weights, "embedding": embedding}

    @functools.cached_property
    def _numbers(self):
        numbers = np.zeros(self.vocabulary_size, "int32")
        numbers[self.rows] = np.arange(len(self.rows))
        return numbers


def _token_ids(corpus):
    first, last = corpus.offsets[[0, -1]]
    return corpus.token_ids[first:last]
