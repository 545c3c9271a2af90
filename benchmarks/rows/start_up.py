"""Imports, and the time to the first answer of an exported classifier."""

from benchmarks.row import Case, Comparison, Row


def _first(side):
    function = f"benchmarks.{side}.start_up:first_prediction"
    return Case(
        "fastai, first answer" if side == "theirs" else "first answer",
        side,
        function,
        {"vocabulary_size": 30000},
    )


def _import(module, side):
    function = "benchmarks.start_up:imports"
    return Case(f"import {module}", side, function, {"module": module})


ROW = Row(
    name="start_up",
    title="Start-up in a fresh process",
    unit="s",
    cases=(
        _import("fastai.text.all", "theirs"),
        _import("ulmfit_tf.models", "ours"),
        _first("theirs"),
        _first("ours"),
    ),
    comparisons=(
        Comparison("first answer", "first answer", "fastai, first answer"),
    ),
    repeats=3,
)
