"""The whole main job without network: train, export, serve, ask.

python -m trainers.demo
"""

import argparse
import json
import logging
import pathlib
import subprocess
import sys
import time

from trainers import classifier, command_line

_log = logging.getLogger("trainers")
_QUESTIONS = (
    "Which river flows through the middle of Budapest?",
    "How many strings does a violin have?",
    "Who was the first woman to win a Nobel Prize?",
)


def main(argv):
    """Returns the figures of the run that was served."""
    parser = argparse.ArgumentParser(
        prog="python -m trainers.demo", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "output",
        nargs="?",
        default=f"runs/demo-{time.strftime('%Y%m%d-%H%M%S')}",
        help="run folder (default: runs/demo-TIME)",
    )
    output = parser.parse_args(argv).output
    figures = classifier.main(["--dataset", "questions", "--output", output])
    _log.info(
        "trained in %.0f s, %.1f %% of the test questions wrong",
        figures["seconds"],
        figures["test_error"],
    )
    base_path = pathlib.Path(figures["saved_model"]).parent
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "serving.server",
            "--model-base-path",
            str(base_path.resolve()),
            "--model-name",
            "questions",
            "--port",
            "0",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        # The server says where it listens once the model answers.
        assert server.stdout is not None
        ready = server.stdout.readline()
        if not ready:
            raise RuntimeError("The server ended before it was ready.")
        target = json.loads(ready)["grpc"]
        _log.info("serving %s at %s", base_path, target)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "serving.client",
                "--target",
                target,
                "--model",
                "questions",
                *_QUESTIONS,
            ],
            check=True,
        )
    finally:
        server.terminate()
        server.wait()
    return figures


if __name__ == "__main__":
    command_line.run(
        main, resumed_by="`python -m trainers.classifier --resume DIR`"
    )
