"""Errors by the length of texts and by their share of unknown words."""

import dataclasses

import numpy as np

from trainers.report.figures import Predictions, Share
from ulmfit_tf import text
from ulmfit_tf.data.token_cache import TokenizedCorpus

_QUANTILES = (0.2, 0.4, 0.6, 0.8, 1.0)
# A group's highest share of unknown words, and its name.
_UNKNOWN = (
    (0.0, "none"),
    (0.05, "up to 5 %"),
    (0.1, "5 to 10 %"),
    (0.2, "10 to 20 %"),
    (1.0, "over 20 %"),
)


@dataclasses.dataclass(frozen=True)
class Group:
    """Texts of a kind and how many of them were answered wrongly.

    Attributes:
        name: Str.
        wrong: `Share` of wrong answers.
    """

    name: str
    wrong: Share


def by_length(predictions: Predictions, corpus: TokenizedCorpus) -> list[Group]:
    """Returns up to five groups of about as many texts each.

    Args:
        predictions: `Predictions`.
        corpus: The texts as token ids. The mark that begins each is not
            counted.
    """
    lengths = corpus.lengths - 1
    highest = np.unique(np.quantile(lengths, _QUANTILES, method="inverted_cdf"))
    groups = []
    for index in range(len(highest)):
        members = np.searchsorted(highest, lengths) == index
        low, high = lengths[members].min(), lengths[members].max()
        name = f"{low}" if low == high else f"{low} to {high}"
        groups.append(_group(name, predictions, members))
    return groups


def by_unknown_words(
    predictions: Predictions, corpus: TokenizedCorpus
) -> list[Group]:
    """Returns the groups that have texts; see `by_length`."""
    unknown = [
        np.sum(corpus[index] == text.UNKNOWN_ID) for index in range(len(corpus))
    ]
    share = np.array(unknown) / np.maximum(corpus.lengths - 1, 1)
    kind = np.searchsorted([highest for highest, _ in _UNKNOWN], share)
    return [
        _group(name, predictions, kind == index)
        for index, (_, name) in enumerate(_UNKNOWN)
        if np.any(kind == index)
    ]


def _group(name, predictions, members):
    wrong = int(np.sum(~predictions.hits[members]))
    return Group(name, Share(wrong, int(members.sum())))
