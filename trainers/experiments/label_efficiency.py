"""How many labels one learning curve needs for the error of another."""

import dataclasses
import math

import numpy as np

from trainers.experiments.tables import ended

# Points; means of the same errors in another order differ by less.
_TIE = 1e-3


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """Labels that another method needs for the same error.

    Attributes:
        labels: Float, their number, or the end of the curve that it lies
            beyond.
        relation: `"about"`, `"more than"` or `"fewer than"`.
    """

    labels: float
    relation: str

    def __str__(self):
        return f"{self.relation} {round(self.labels):,}"


def equivalent_labels(curve, error):
    """Returns the labels at which a learning curve reaches an error.

    Interpolates the error linearly over the logarithm of the number of
    labels, on the lowest error up to each number: a curve that rises by
    chance does not lose what it reached.

    Args:
        curve: List of pairs of a number of labels, rising, and a mean error
            in per cent.
        error: Float, per cent.

    Returns:
        `Equivalent`.
    """
    sizes = [size for size, _ in curve]
    reached = np.minimum.accumulate([each for _, each in curve])
    if error > reached[0] + _TIE:
        return Equivalent(sizes[0], "fewer than")
    if error < reached[-1] - _TIE:
        return Equivalent(sizes[-1], "more than")
    index = int(np.argmax(reached <= error + _TIE))
    if index == 0:
        return Equivalent(sizes[0], "about")
    above, below = reached[index - 1], reached[index]
    share = min(1.0, (above - error) / (above - below))
    low, high = math.log(sizes[index - 1]), math.log(sizes[index])
    return Equivalent(math.exp(low + share * (high - low)), "about")


def sentence(method, size, other, curve, errors):
    """Says what a method's labels are worth in those of another.

    Args:
        method: Str, its name.
        size: Int, its number of labels.
        other: Str, the other method's name.
        curve: List of pairs of a number of labels, rising, and the other
            method's errors in per cent, one a seed, `None` where it diverged.
        errors: List of the method's errors at `size`, likewise.
    """
    means = [(at, np.mean(ended(each))) for at, each in curve if ended(each)]
    match = equivalent_labels(means, np.mean(ended(errors)))
    times = match.labels / size
    return (
        f"{method}: {size:,} labels match {match} {other} "
        f"({'' if match.relation == 'about' else match.relation + ' '}"
        f"{_times(times)} times as many{_range(curve, errors)})."
    )


def _times(times):
    return f"{times:,.0f}" if times >= 10 else f"{times:.2g}"


def _range(curve, errors):
    """Says between what the seeds lie, each with its own curve."""
    matches = []
    for seed, error in enumerate(errors):
        of_seed = [
            (at, each[seed])
            for at, each in curve
            if seed < len(each) and each[seed] is not None
        ]
        if error is not None and of_seed:
            matches.append(equivalent_labels(of_seed, error))
    if len(matches) < 2:
        return ""
    matches.sort(key=lambda match: (match.labels, _RELATIONS[match.relation]))
    return f"; single seeds from {matches[0]} to {matches[-1]} labels"


_RELATIONS = {"fewer than": 0, "about": 1, "more than": 2}
