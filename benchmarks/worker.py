"""Measures what it is asked to, in one of the two environments.

Reads requests as lines of JSON from standard input and answers each with a
line of JSON. Whatever else the measured code prints goes to standard error.
"""

import importlib
import json
import os
import sys
import traceback


def main():
    """Serves requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    measures = {}
    for line in sys.stdin:
        try:
            reply = _answer(json.loads(line), measures)
        except Exception:
            reply = {"error": traceback.format_exc()}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _answer(request, measures):
    if request["do"] == "prepare":
        module, function = request["function"].split(":")
        make = getattr(importlib.import_module(module), function)
        measures[request["name"]] = make(**request["arguments"])
        return {}
    if request["do"] == "measure":
        return {"value": measures[request["name"]]()}
    raise ValueError(f"Unknown request: {request['do']!r}.")


if __name__ == "__main__":
    main()
