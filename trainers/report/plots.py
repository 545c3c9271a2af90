"""Plots as inline SVG whose colours follow the page's colour scheme."""

import io
import re
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)

from trainers.report.figures import Calibration, Share

# Colours that stand for the page's CSS variables.
_INK, _MUTED, _GRID = "#0a0b01", "#0a0b02", "#0a0b03"
_SERIES = [f"#0a0c{index:02x}" for index in range(1, 7)]
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _GRID: "var(--line)",
    **{
        color: f"var(--series-{index})"
        for index, color in enumerate(_SERIES, start=1)
    },
}
_STYLE: Any = {
    "svg.fonttype": "none",
    # The same figure twice is the same text.
    "svg.hashsalt": "ulmfit_tf",
    # A dollar sign is a dollar sign.
    "text.parse_math": False,
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
# From here on a linear axis hides the small ones.
_LOGARITHMIC_FROM = 5


def curves(records, names, label, moments=(), is_share=False) -> Markup:
    """Plots figures of the epochs.

    Args:
        records: List of dicts, one an epoch.
        names: Dict from a record's key to what the legend calls it; keys
            that the records lack are left out.
        label: Str, name of the figures.
        moments: List of ints, the epochs after which other layers were
            trained.
        is_share: Bool, whether the figures lie between 0 and 1; others that
            differ by much get a logarithmic axis.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.5, 3.6))
        axes = figure.add_subplot()
        values = []
        for index, (key, name) in enumerate(names.items()):
            points = [(r["epoch"] + 1, r[key]) for r in records if key in r]
            values += [value for _, value in points if value > 0]
            if points:
                axes.plot(
                    *np.transpose(points),
                    marker="o",
                    color=_SERIES[index],
                    label=name,
                )
        wide = values and max(values) > _LOGARITHMIC_FROM * min(values)
        if wide and not is_share:
            _logarithmic(axes)
        axes.set_ylabel(label)
        _epochs(axes, len(records), moments)
        figure.legend(loc="outside upper left", ncols=2)
        return _inline(figure, f"{label} by epoch")


def pretraining(records) -> Markup:
    """Plots perplexity over what was read.

    Args:
        records: List of dicts of `million_tokens` and `perplexity`.
    """
    tokens = [record["million_tokens"] for record in records]
    perplexities = [record["perplexity"] for record in records]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.5, 3.6))
        axes = figure.add_subplot()
        axes.plot(tokens, perplexities, marker="o", color=_SERIES[1])
        if max(perplexities) > _LOGARITHMIC_FROM * min(perplexities):
            _logarithmic(axes)
        axes.set_xlim(left=0)
        axes.set_xlabel("million tokens")
        axes.set_ylabel("validation perplexity")
        return _inline(figure, "perplexity by tokens read")


def rates(records, planned, groups, trained, moments=()) -> Markup:
    """Plots the learning rate of each layer group and when it is trained.

    Args:
        records: List of dicts, one an epoch.
        planned: List of pairs of float arrays, epochs and rates, a group.
        groups: List of the groups' names, from the input up.
        trained: List of collections of groups, one an epoch.
        moments: List of ints, as of `curves`.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.5, 3.6))
        upper, lower = figure.subplots(2, height_ratios=(3, 2), sharex=True)
        for index in range(len(groups)):
            color = _SERIES[index % len(_SERIES)]
            mine = [index in of_epoch for of_epoch in trained]
            upper.plot(*planned[index], color=color, linewidth=1.2)
            points = [
                (record["epoch"] + 1, record[f"learning_rate/group_{index}"])
                for record, is_trained in zip(records, mine, strict=True)
                if is_trained
            ]
            if points:
                upper.plot(*np.transpose(points), "o", color=color)
            spans = [(epoch, 1) for epoch, on in enumerate(mine) if on]
            lower.broken_barh(spans, (index - 0.35, 0.7), color=color)
        _logarithmic(upper)
        upper.set_ylabel("learning rate")
        lower.set_yticks(range(len(groups)), groups)
        lower.tick_params(axis="y", length=0)
        lower.grid(axis="y", visible=False)
        lower.set_ylim(-0.6, len(groups) - 0.4)
        for axes in (upper, lower):
            _epochs(axes, len(records), moments)
        upper.set_xlabel("")
        return _inline(figure, "Learning rates and trained layers by epoch")


def reliability(calibration: Calibration, is_multi_label: bool) -> Markup:
    """Plots accuracy by confidence, and how many answers each bin has.

    Of several labels each is an answer of its own: how many of those that
    were answered are right, by their probability.
    """
    accuracy, confidence, answers = (
        ("right labels", "probability", "answered labels")
        if is_multi_label
        else ("accuracy", "confidence", "texts")
    )
    filled = np.flatnonzero(calibration.texts)
    shares = [
        Share(int(calibration.hits[i]), int(calibration.texts[i]))
        for i in filled
    ]
    values = np.array([share.value for share in shares])
    intervals = np.array([share.interval for share in shares])
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.5, 4.4))
        upper, lower = figure.subplots(2, height_ratios=(4, 1), sharex=True)
        upper.plot([0, 1], [0, 1], "--", color=_MUTED, linewidth=1)
        upper.errorbar(
            calibration.confidence[filled],
            values,
            np.abs(intervals.T - values),
            fmt="o-",
            color=_SERIES[0],
            elinewidth=1,
        )
        upper.set_ylabel(accuracy)
        upper.set_ylim(-0.02, 1.02)
        upper.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        lower.bar(
            calibration.edges[:-1],
            calibration.texts,
            width=np.diff(calibration.edges),
            align="edge",
            color=_SERIES[0],
            alpha=0.6,
        )
        lower.set_ylabel(answers)
        lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        lower.set_xlim(-0.02, 1.02)
        lower.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        lower.set_xlabel(confidence)
        return _inline(figure, f"{accuracy} by {confidence}".capitalize())


def _logarithmic(axes):
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    # The usual formatter writes powers as formulas.
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _epochs(axes, epochs, moments):
    for moment in moments:
        axes.axvline(moment, color=_MUTED, linestyle="--", linewidth=1)
    axes.set_xlim(0, epochs + 0.15)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("epoch")


def _inline(figure, description):
    content = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(content, format="svg", transparent=True, metadata=nothing)
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :]
    # These would apply to the whole page, or clash with another plot's.
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = svg.replace("xlink:href", "href")
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    (view,) = re.findall(r'viewBox="[^"]*"', svg)[:1]
    opening = f'<svg {view} role="img" aria-label="{escape(description)}">'
    return Markup(opening + svg[svg.index(">") + 1 :])
