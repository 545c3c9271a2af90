"""Loops, memory and threads that the LSTM kernel could use, in turn.

python -m benchmarks.kernel_variants

Prints in JSON lines the tokens a second of one layer's forward and backward
pass, and their ratio to those of the kernel as it is. Each variant has a
process of its own, as threads and oneDNN are set up once in each.
"""

import argparse
import contextlib
import json
import sys

import numpy as np

from benchmarks.measuring import Worker
from benchmarks.row import Case

_FUNCTION = "benchmarks.ours.kernel_variants:forward_and_backward"
_AS_IT_IS = "as it is"
_WHOLE = "all timesteps"
# Changes of the loop, and variables of the environment.
_VARIANTS = {
    _AS_IT_IS: ({}, {}),
    "loop unrolled by 2": ({"unroll": 2}, {}),
    "loop unrolled by 10": ({"unroll": 10}, {}),
    "loop unrolled whole": ({"unroll": _WHOLE}, {}),
    "one parallel iteration": ({"parallel_iterations": 1}, {}),
    "32 parallel iterations": ({"parallel_iterations": 32}, {}),
    "preallocated tensors": ({"preallocated": True}, {}),
    "one thread in operations": ({}, {"TF_NUM_INTRAOP_THREADS": "1"}),
    "one thread between operations": ({}, {"TF_NUM_INTEROP_THREADS": "1"}),
    "four threads between operations": ({}, {"TF_NUM_INTEROP_THREADS": "4"}),
    "without oneDNN": ({}, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "oneDNN's own float32 in bfloat16": (
        {},
        {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
    ),
    "caller's thread": ({}, {"TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD": "1"}),
}


def main(argv=None):
    """Prints one line for each variant and format."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernel_variants"
    )
    add = parser.add_argument
    add("--batch", type=int, default=64)
    add("--timesteps", type=int, default=70, help="a multiple of 10")
    add("--features", type=int, default=400)
    add("--units", type=int, default=1152)
    add("--repeats", type=int, default=7)
    sizes = vars(parser.parse_args(argv))
    repeats = sizes.pop("repeats")
    for dtype in ("float32", "bfloat16"):
        medians = _medians({**sizes, "dtype": dtype}, repeats)
        for name, median in medians.items():
            line = {
                "dtype": dtype,
                "variant": name,
                "tokens/s": round(median),
                "ratio": round(median / medians[_AS_IT_IS], 2),
            }
            print(json.dumps(line), flush=True)


def _medians(arguments, repeats):
    with contextlib.ExitStack() as stack:
        cases = {}
        for name, (changes, environment) in _VARIANTS.items():
            worker = Worker(sys.executable, environment)
            stack.enter_context(worker)
            if changes.get("unroll") == _WHOLE:
                changes = {"unroll": arguments["timesteps"]}
            case = Case(name, "ours", _FUNCTION, {**arguments, **changes})
            worker.prepare(case)
            cases[name] = worker, case
        values = {name: [] for name in cases}
        # The first run traces.
        for repeat in range(repeats + 1):
            for name, (worker, case) in cases.items():
                value = worker.measure(case)
                if repeat:
                    values[name].append(value)
    return {name: float(np.median(each)) for name, each in values.items()}


if __name__ == "__main__":
    main()
