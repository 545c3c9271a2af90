"""How long a fresh Python takes for a program; for both sides."""

import subprocess
import sys


def seconds_of(program, *arguments):
    """Returns the seconds that `program` counts and prints at its end."""
    clocked = (
        "import time; started = time.perf_counter()\n"
        f"{program}\n"
        "print(time.perf_counter() - started)"
    )
    reply = subprocess.run(
        [sys.executable, "-c", clocked, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(reply.stdout.split()[-1])


def imports(module):
    """Returns a function that measures the seconds of an import."""
    return lambda: seconds_of(f"import {module}")
