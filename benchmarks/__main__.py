"""Measures ours and theirs in turn and compares the medians.

python -m benchmarks --rows lm_step,inference --peers-python PYTHON
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import sys

from benchmarks import machine
from benchmarks.measuring import ROOT, run_row, summarize
from benchmarks.rows import ROWS
from benchmarks.table import format_row


def parse_arguments(argv):
    """Returns the parsed command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__
    )
    add = parser.add_argument
    add(
        "--rows",
        default="all",
        help=f"comma-separated, of: {', '.join(ROWS)}",
    )
    add(
        "--peers-python",
        default=os.environ.get("PEERS_PYTHON"),
        help="Python of an environment with fastai, torch and spaCy; without "
        "it ours is measured alone",
    )
    add("--repeats", type=int, help="instead of each row's own number")
    add(
        "--leave-out",
        metavar="WORD",
        help="leave out cases with this in their name, such as bfloat16 where "
        "the processor lacks it and fastai cannot run",
    )
    add(
        "--output",
        type=pathlib.Path,
        help="JSON file, kept up to date row by row; rows that it already "
        "holds are kept (benchmarks/results/DATE.json)",
    )
    arguments = parser.parse_args(argv)
    names = list(ROWS) if arguments.rows == "all" else arguments.rows.split(",")
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        parser.error(
            f"no such rows: {', '.join(unknown)}. There are: {', '.join(ROWS)}"
        )
    if arguments.repeats is not None and arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    arguments.rows = names
    return arguments


def main(argv=None):
    """Measures the rows asked for, prints a table and writes the results."""
    arguments = parse_arguments(argv)
    pythons = {"ours": sys.executable}
    if arguments.peers_python:
        pythons["theirs"] = arguments.peers_python
    today = datetime.date.today().isoformat()
    output = arguments.output or ROOT / "benchmarks/results" / f"{today}.json"
    results = {"rows": {}}
    if output.exists():
        results = json.loads(output.read_text())
    results.update(
        date=today,
        machine=machine.describe(),
        versions=machine.versions(pythons),
    )
    for name in arguments.rows:
        row = _without(ROWS[name], arguments.leave_out)
        summary = summarize(row, run_row(row, pythons, arguments.repeats))
        results["rows"][name] = summary
        print(format_row(summary), flush=True)
        _write(output, results)


def _without(row, word):
    if word is None:
        return row
    cases = tuple(case for case in row.cases if word not in case.name)
    left = {case.name for case in cases}
    comparisons = tuple(
        comparison
        for comparison in row.comparisons
        if {comparison.case, comparison.reference} <= left
    )
    return dataclasses.replace(row, cases=cases, comparisons=comparisons)


def _write(path, results):
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
