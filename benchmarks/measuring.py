"""Runs a row: its cases in turn, in workers of their own environments."""

import json
import os
import pathlib
import subprocess

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Worker:
    """A process of `benchmarks.worker` that answers one request at a time.

    Args:
        python: Path of an environment's Python.
        variables: Optional dict, more variables of the environment.
    """

    def __init__(self, python, variables=None):
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(variables or {})},
        )

    def prepare(self, case):
        """Makes the worker ready to measure `case`."""
        self._ask(
            do="prepare",
            name=case.name,
            function=case.function,
            arguments=case.arguments,
        )

    def measure(self, case):
        """Returns one measurement of a prepared case."""
        return self._ask(do="measure", name=case.name)["value"]

    def _ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"error": "The process died."}
        if "error" in reply:
            raise RuntimeError(f"{request['name']}: {reply['error']}")
        return reply

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def run_row(row, pythons, repeats=None):
    """Measures a row, one process at a time doing something.

    Args:
        row: `Row`.
        pythons: Dict from `"ours"` and `"theirs"` to a path of Python. Cases
            whose side is missing are left out.
        repeats: Optional int, instead of the row's own.

    Returns:
        Dict from the cases' names to lists of measurements, in order.
    """
    cases = [case for case in row.cases if case.side in pythons]
    lasting = [case for case in cases if not case.fresh]
    values = {case.name: [] for case in cases}
    workers = {side: Worker(pythons[side]) for side in _sides(lasting)}
    try:
        for case in lasting:
            workers[case.side].prepare(case)
        for repeat in range(row.warm_up + (repeats or row.repeats)):
            for case in cases:
                if case.fresh:
                    if repeat < row.warm_up:
                        continue
                    with Worker(pythons[case.side]) as worker:
                        worker.prepare(case)
                        value = worker.measure(case)
                else:
                    value = workers[case.side].measure(case)
                if repeat >= row.warm_up:
                    values[case.name].append(value)
    finally:
        for worker in workers.values():
            worker.__exit__()
    return values


def _sides(cases):
    return sorted({case.side for case in cases})


def summarize(row, values):
    """Returns a row's medians, quartiles and ratios as a dict for JSON."""
    summary = {}
    for name, numbers in values.items():
        low, median, high = np.percentile(numbers, [25, 50, 75])
        summary[name] = {
            "median": float(median),
            "quartiles": [float(low), float(high)],
            "values": numbers,
        }
    ratios = {}
    for comparison in row.comparisons:
        if not {comparison.case, comparison.reference} <= summary.keys():
            continue
        ratio = (
            summary[comparison.case]["median"]
            / summary[comparison.reference]["median"]
        )
        ratios[comparison.name] = {
            "ratio": ratio,
            "at_least": comparison.at_least,
            "at_most": comparison.at_most,
            "aim": comparison.aim,
            "met": comparison.is_met(ratio),
        }
    return {
        "title": row.title,
        "unit": row.unit,
        "cases": summary,
        "ratios": ratios,
    }
