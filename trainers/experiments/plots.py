"""Plots of experiments, as PNG files."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter, ScalarFormatter

from trainers.experiments.tables import DIVERGED, ended
from ulmfit_tf.whole_files import written_whole

# Okabe & Ito's, which colour-blind readers tell apart.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#555555")
_MARKERS = ("o", "s", "^", "D")
_STYLE: Any = {
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


class _PlainNumbers(LogFormatter):
    """Numbers as readers write them, 0.003, rather than powers of ten.

    Matplotlib's own would show its formulas' source: titles hold the names
    of files, so that dollar signs are no formulas here.
    """

    def __init__(self):
        # Up to two decades have labels between the powers of ten.
        super().__init__(labelOnlyBase=False, minor_thresholds=(2, 0.4))

    def __call__(self, x, pos=None):
        # What is too close to its neighbour has no label.
        return f"{x:g}" if super().__call__(x, pos) else ""


def sweep(path, title, name, trials, marked=None, joined=True, is_log=False):
    """Plots validation error over one tuned field, a point a seed.

    Args:
        path: Path of a PNG file.
        title: Str.
        name: Str, the field.
        trials: List of pairs of the field's value and a list of errors in
            per cent, `None` for a seed that diverged.
        marked: Optional float, a value to mark as the paper's.
        joined: Bool, whether a line joins the means.
        is_log: Bool, whether the field's axis is logarithmic.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.0))
        axes = figure.add_subplot()
        numeric = all(not isinstance(value, str) for value, _ in trials)
        diverged = [value for value, errors in trials if None in errors]
        trials = _ended(trials)
        if numeric:
            trials = sorted(trials)
        values = [value for value, errors in trials for _ in errors]
        errors = [error for _, errors in trials for error in errors]
        axes.scatter(
            values,
            errors,
            s=22,
            alpha=0.55,
            color=_COLORS[0],
            linewidths=0,
            label="one seed",
        )
        axes.plot(
            [value for value, _ in trials],
            [np.mean(errors) for _, errors in trials],
            linestyle="-" if joined and numeric else "none",
            marker="_",
            markersize=14,
            color=_COLORS[1],
            label="mean",
        )
        if diverged:
            # At the upper end, whatever the other errors are.
            axes.plot(
                diverged,
                [0.98] * len(diverged),
                "x",
                color=_COLORS[1],
                transform=axes.get_xaxis_transform(),
                label=DIVERGED,
            )
        if marked is not None:
            axes.axvline(
                marked,
                linestyle="--",
                color=_COLORS[3],
                label=f"{marked:g}, Howard & Ruder (2018)",
            )
        if is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(_PlainNumbers())
            axes.xaxis.set_minor_formatter(_PlainNumbers())
        axes.set_title(title)
        axes.set_xlabel(name.replace("_", " "))
        axes.set_ylabel("validation error, %")
        _legend(figure, columns=3)
        _save(figure, path)


def learning_curve(path, title, curves):
    """Plots validation error over the number of labels, with bands.

    Args:
        path: Path of a PNG file.
        title: Str.
        curves: Dict from a method's name to a list of pairs of a number of
            labels and a list of errors in per cent, `None` for a seed that
            diverged.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.4))
        axes = figure.add_subplot()
        sizes = sorted({size for curve in curves.values() for size, _ in curve})
        for index, (method, curve) in enumerate(curves.items()):
            curve = _ended(curve)
            at = [size for size, _ in curve]
            color = _COLORS[index]
            axes.plot(
                at,
                [np.mean(errors) for _, errors in curve],
                marker=_MARKERS[index],
                markersize=5,
                color=color,
                label=method,
            )
            axes.fill_between(
                at,
                [min(errors) for _, errors in curve],
                [max(errors) for _, errors in curve],
                color=color,
                alpha=0.18,
                linewidth=0,
            )
        axes.set_xscale("log")
        axes.set_xticks(sizes)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(title)
        axes.set_xlabel("labelled texts")
        axes.set_ylabel("validation error, %")
        axes.set_ylim(bottom=0)
        _legend(figure, columns=2)
        _save(figure, path)


def _ended(pairs):
    """Pairs of a value and errors, without the seeds that diverged."""
    kept = [(value, ended(errors)) for value, errors in pairs]
    return [(value, errors) for value, errors in kept if errors]


def _legend(figure, columns):
    # Beside the axes, where it covers nothing.
    figure.legend(loc="outside lower center", ncols=columns)


def _save(figure, path):
    with written_whole(path) as beside:
        figure.savefig(beside, format="png", dpi=150)
