"""Rows are measured in turn, in processes of their own."""

import json
import sys

import pytest

from benchmarks import __main__ as command
from benchmarks.measuring import run_row, summarize
from benchmarks.row import Case, Comparison, Row
from benchmarks.table import format_row

_MODULE = """
import os, time

def counter(start, log):
    print("this is no reply")
    state = {"value": start}
    def measure():
        state["value"] += 1
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\\n")
        return state["value"]
    return measure

def broken():
    raise OSError("no such thing")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "measured.py").write_text(_MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "log"


def case(name, side, log, start, **kwargs):
    arguments = {"start": start, "log": str(log)}
    return Case(name, side, "measured:counter", arguments, **kwargs)


def test_cases_are_measured_in_turn_and_compared(module):
    row = Row(
        name="row",
        title="Row",
        unit="apples",
        cases=(
            case("a", "ours", module, 10),
            case("b", "theirs", module, 0),
            case("c", "ours", module, 5, fresh=True),
        ),
        comparisons=(
            Comparison("a/b", "a", "b", at_least=5.0),
            Comparison("c/a", "c", "a", at_most=0.4),
        ),
        repeats=3,
        warm_up=1,
    )
    pythons = {"ours": sys.executable, "theirs": sys.executable}
    values = run_row(row, pythons)
    # Warm-up counts up, but is not counted; a fresh process starts anew.
    assert values == {"a": [12, 13, 14], "b": [2, 3, 4], "c": [6, 6, 6]}
    processes = module.read_text().split()
    assert processes[:2] == processes[2:4]
    assert len(set(processes)) == 2 + 3
    summary = summarize(row, values)
    assert json.loads(json.dumps(summary)) == summary
    assert summary["cases"]["a"]["median"] == 13
    assert summary["cases"]["a"]["quartiles"] == [12.5, 13.5]
    ratios = summary["ratios"]
    assert ratios["a/b"]["ratio"] == pytest.approx(13 / 3)
    assert [ratios[name]["met"] for name in ("a/b", "c/a")] == [False, False]
    table = format_row(summary)
    assert "4.33x  at least 5x: MISSED" in table
    assert "0.46x  at most 0.4x: MISSED" in table


def test_ours_is_measured_alone_without_the_peers(module):
    row = Row(
        name="row",
        title="Row",
        unit="apples",
        cases=(case("a", "ours", module, 1), case("b", "theirs", module, 1)),
        comparisons=(Comparison("a/b", "a", "b", at_least=1.0),),
        repeats=1,
        warm_up=0,
    )
    values = run_row(row, {"ours": sys.executable})
    assert values == {"a": [2]}
    assert summarize(row, values)["ratios"] == {}


def test_a_failing_case_says_which_and_why(module):
    row = Row(
        name="row",
        title="Row",
        unit="apples",
        cases=(Case("x", "ours", "measured:broken"),),
    )
    with pytest.raises(RuntimeError, match="x: (.|\n)*no such thing"):
        run_row(row, {"ours": sys.executable})


def test_a_comparison_of_unknown_cases_is_refused():
    with pytest.raises(ValueError, match="`b`, which is none"):
        Row(
            name="row",
            title="Row",
            unit="apples",
            cases=(Case("a", "ours", "m:f"),),
            comparisons=(Comparison("a/b", "a", "b"),),
        )


def test_cases_can_be_left_out_by_a_word(module, monkeypatch, tmp_path):
    row = Row(
        name="row",
        title="Row",
        unit="apples",
        cases=(
            case("float32", "ours", module, 10),
            # What this processor cannot run would end the whole row.
            Case("their bfloat16", "ours", "measured:broken", {}),
        ),
        comparisons=(Comparison("ratio", "float32", "their bfloat16"),),
        repeats=1,
    )
    monkeypatch.setitem(command.ROWS, "row", row)
    output = tmp_path / "results.json"
    flags = ["--rows", "row", "--output", str(output)]
    with pytest.raises(RuntimeError, match="no such thing"):
        command.main(flags)
    command.main([*flags, "--leave-out", "bfloat16"])
    written = json.loads(output.read_text())["rows"]["row"]
    assert list(written["cases"]) == ["float32"]
    assert written["ratios"] == {}
