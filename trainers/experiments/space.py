"""Search spaces over the fields of a recipe."""

import dataclasses
import itertools
from typing import Any

import numpy as np

from trainers.recipes import CHOICES

# Howard & Ruder (2018), section 3.2.
PAPER_DECAY_FACTOR = 2.6


@dataclasses.dataclass(frozen=True)
class Interval:
    """Values that a field may take in a sweep.

    Attributes:
        low: Lowest value.
        high: Highest value.
        sampling: `"linear"` or `"log"`.
        whole: Bool, whether values are whole numbers.
    """

    low: float
    high: float
    sampling: str = "linear"
    whole: bool = False

    def spread(self, count, default):
        """Returns `count` values over the interval, one of them `default`."""
        space = np.geomspace if self.sampling == "log" else np.linspace
        values = space(self.low, self.high, count)
        # The ends stay, so that there are values on both sides of it.
        lies_within = count > 2 and self.low < default < self.high
        movable = values[1:-1] if lies_within else values
        movable[np.argmin(np.abs(movable - default))] = default
        kind = int if self.whole else rounded
        return sorted({kind(value) for value in values})

    def positions(self, values):
        """Returns how far values are from the lowest, the whole being 1."""
        ends = np.array([self.low, self.high, *values], "float64")
        if self.sampling == "log":
            ends = np.log(ends)
        return (ends[2:] - ends[0]) / (ends[1] - ends[0])


TUNABLE: dict[str, Any] = {
    "decay_factor": Interval(1.0, 6.0),
    "language_model_decay_factor": Interval(1.0, 6.0),
    "learning_rate": Interval(1e-3, 3e-2, "log"),
    "language_model_rate": Interval(4e-4, 1.2e-2, "log"),
    "dropout": Interval(0.2, 1.6),
    # From below what a small model gets (`dropout_for`).
    "encoder_dropout": Interval(0.05, 1.0, "log"),
    "language_model_dropout": Interval(0.05, 1.6, "log"),
    "cut_frac": Interval(0.02, 0.5, "log"),
    "ratio": Interval(2.0, 128.0, "log"),
    # The paper's unfreezing takes four epochs to reach the lowest layer.
    "epochs": Interval(5, 50, "log", whole=True),
    "unfreezing": CHOICES["unfreezing"],
}


def rounded(value):
    """Returns a float with six significant digits.

    KerasTuner's workers and chief exchange single-precision numbers: this
    makes 2.6 of 2.5999999046, on both sides.
    """
    return float(f"{float(value):.6g}")


def searched(names, fewest_epochs):
    """Returns the fields of a sweep, as in `TUNABLE`.

    Args:
        names: Fields to tune, keys of `TUNABLE`.
        fewest_epochs: Int, what the ways of unfreezing take; trials have no
            fewer epochs.
    """
    fields = {name: TUNABLE[name] for name in names}
    if "epochs" in fields:
        epochs = fields["epochs"]
        low = max(epochs.low, fewest_epochs)
        fields["epochs"] = dataclasses.replace(epochs, low=low)
    return fields


def defaults(names, recipe, given=()):
    """Returns the first point of a sweep: the recipe's, with the paper's 2.6.

    Args:
        names: Fields to tune, keys of `TUNABLE`.
        recipe: `Recipe`.
        given: Collection of the fields that the user gave, which stay.
    """
    point = {name: getattr(recipe, name) for name in names}
    for name in ("decay_factor", "language_model_decay_factor"):
        if name in point and name not in given:
            point[name] = PAPER_DECAY_FACTOR
    return point


def declare(hyperparameters, point, fields=TUNABLE):
    """Declares the fields of a sweep and returns their values in a trial.

    Args:
        hyperparameters: `keras_tuner.HyperParameters`.
        point: Dict that `defaults` returned.
        fields: Dict that `searched` returned.
    """
    values = {}
    for name, default in point.items():
        field = fields[name]
        if not isinstance(field, Interval):
            value = hyperparameters.Choice(name, list(field), default=default)
        elif field.whole:
            value = hyperparameters.Int(
                name,
                field.low,
                field.high,
                sampling=field.sampling,
                default=default,
            )
        else:
            value = rounded(
                hyperparameters.Float(
                    name,
                    field.low,
                    field.high,
                    sampling=field.sampling,
                    default=default,
                )
            )
        values[name] = value
    return values


def grid(point, count, fields=TUNABLE):
    """Returns at most `count` points of a grid, `point` first.

    Where the grid has more of them, those that lie far apart.

    Args:
        point: Dict that `defaults` returned.
        count: Int. With several fields each takes the number of values whose
            product comes closest from below, at least three: with two of
            them a search would go to one side of `point` alone.
        fields: Dict that `searched` returned.
    """
    # The small term undoes rounding: 27 ** (1 / 3) is 3.0000000000000004
    # or 2.9999999999999996.
    each = max(3, int(count ** (1 / len(point)) + 1e-9))
    values = [
        fields[name].spread(each, default)
        if isinstance(fields[name], Interval)
        else fields[name]
        for name, default in point.items()
    ]
    points = [
        dict(zip(point, combination, strict=True))
        for combination in itertools.product(*values)
    ]
    others = [each for each in points if each != point]
    if len(others) < count:
        return [point, *others]
    return farthest_first([point], others, count)


def farthest_first(points, others, count):
    """Returns points, and of others those farthest from all before them.

    Args:
        points: List of dicts, one or more.
        others: List of dicts to choose from.
        count: Int, points to return at most.
    """
    points, others = list(points), list(others)
    if not others:
        return points
    places = _places([*points, *others])
    chosen = list(range(len(points)))
    nearest = np.full(len(places), np.inf)
    for one in chosen:
        nearest = np.minimum(nearest, _distances(places, one))
    while len(chosen) < min(count, len(places)):
        # What is chosen has a distance of 0, and comes last.
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _distances(places, chosen[-1]))
    return [[*points, *others][index] for index in chosen]


def _places(points):
    """Float array `(points, columns)`: every field from end to end is 1."""
    columns = []
    for name in points[0]:
        field, values = TUNABLE[name], [point[name] for point in points]
        if isinstance(field, Interval):
            columns.append(field.positions(values))
        else:
            # Two choices differ in two columns, or in none.
            columns += [0.5 * (np.array(values) == choice) for choice in field]
    return np.stack(columns, axis=1)


def _distances(places, index):
    return np.abs(places - places[index]).sum(axis=1)
