"""Exports a run's classifier for TF Serving.

    python -m serving.export --run-dir RUN [--output MODEL_DIR] [--version N]

The last line of standard output is a JSON object: `saved_model`, `version`,
`bytes`, `seconds`.
"""

import argparse
import json
import logging
import pathlib
import time

from serving import command_line
from serving.staging import HIGHEST_VERSION

PRECISIONS = ("float32", "float16", "bfloat16", "int8")


def main(argv):
    """Exports as the arguments say; returns the final figures."""
    arguments = _parser().parse_args(argv)
    if arguments.version is not None and not (
        1 <= arguments.version <= HIGHEST_VERSION
    ):
        raise command_line.UserError(
            f"`--version {arguments.version}`: a version is a positive "
            "integer of at most 63 bits. Leave it out for the next free one."
        )
    started = time.monotonic()
    run_dir = pathlib.Path(arguments.run_dir)
    classifier = load_run_classifier(run_dir)
    figures = _read_figures(run_dir / "metrics.json")
    # TensorFlow takes seconds to import; a mistake is told before.
    import tensorflow as tf

    from serving.saved_model import export_classifier, size_on_disk

    output = pathlib.Path(arguments.output or run_dir / "saved_model")
    logging.info("Exporting %s and checking the export.", run_dir)
    try:
        version = export_classifier(
            classifier,
            output,
            version=arguments.version,
            figures=figures,
            precision=arguments.precision,
        )
    except (OSError, tf.errors.OpError) as error:
        # TensorFlow writes files of its own, and says so of a full disk.
        raise command_line.UserError(
            f"`--output {output}` could not be written: {error}"
        ) from error
    return {
        "saved_model": str(version),
        "version": int(version.name),
        "bytes": size_on_disk(version),
        "seconds": round(time.monotonic() - started, 1),
    }


def load_run_classifier(run_dir):
    """Loads the `TrainedClassifier` of a run folder.

    Raises:
        UserError: If there is none in it, or it cannot be read, or Keras has
            another backend.
    """
    source = pathlib.Path(run_dir) / "classifier"
    if not (source / "config.json").exists():
        raise command_line.UserError(
            f"`--run-dir {run_dir}`: there is no trained classifier in that "
            "folder, as it has no classifier/config.json. Give the folder "
            "that `python -m trainers.classifier` printed as its `run_dir`."
        )
    command_line.check_backend()
    from ulmfit_tf.pretrained import TrainedClassifier

    try:
        return TrainedClassifier.from_preset(source)
    except (ValueError, OSError) as error:
        raise command_line.UserError(str(error)) from error


def _read_figures(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise command_line.UserError(
            f"`{path}`, the run's figures, cannot be read: {error}. Repair the "
            "file, or remove it to export without figures."
        ) from error


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m serving.export",
        description="Exports a run's classifier for TF Serving.",
        formatter_class=command_line.HelpFormatter,
    )
    parser.add_argument(
        "--run-dir", required=True, help="run folder of trainers.classifier"
    )
    parser.add_argument(
        "--output", help="model directory; by default RUN/saved_model"
    )
    parser.add_argument(
        "--version", type=int, help="by default the next free one"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of the weights on disk; with bfloat16 also of the products, "
        "which else are float32",
    )
    return parser


if __name__ == "__main__":
    command_line.run(main)
