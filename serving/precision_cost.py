"""What storing a classifier's weights in fewer bits costs in accuracy.

    python -m serving.precision_cost --run-dir RUN --dataset NAME_OR_PATH

Exports the run's classifier in each precision, asks the exports about the
data set's test split, and compares their answers with the trainer's. The last
line of standard output is a JSON object with the figures of each precision.
"""

import argparse
import json
import logging
import pathlib
import tempfile

from serving import command_line
from serving.export import PRECISIONS, load_run_classifier

_BATCH = 64


def main(argv):
    """Measures as the arguments say; returns the figures."""
    arguments = _parser().parse_args(argv)
    classifier = load_run_classifier(arguments.run_dir)
    # TensorFlow takes seconds to import; a mistake is told before.
    from ulmfit_tf import data

    decision = classifier.decision
    try:
        dataset = data.load_dataset(
            arguments.dataset,
            data_dir=arguments.data_dir,
            text_column=arguments.text_column,
            label_column=arguments.label_column,
            multi_label=decision.task_type is data.TaskType.MULTI_LABEL,
            label_separator=decision.label_separator,
            # Others would be texts that the run was trained on.
            **_test_fraction(arguments.run_dir),
        )
    except data.DataError as error:
        raise command_line.UserError(str(error)) from error
    if tuple(dataset.classes) != tuple(classifier.classes):
        raise command_line.UserError(
            f"`--dataset {arguments.dataset}` has the classes "
            f"{list(dataset.classes)}, and the classifier of `--run-dir "
            f"{arguments.run_dir}` {list(classifier.classes)}. Give the data "
            "set that the run was trained on."
        )
    if dataset.test_texts is None:
        raise command_line.UserError(
            f"`--dataset {arguments.dataset}` has no test split to measure "
            "on. Give one that has."
        )
    return {
        "dataset": dataset.name,
        "texts": len(dataset.test_texts),
        "precisions": precision_costs(
            classifier, dataset.test_texts, dataset.test_labels
        ),
    }


def _test_fraction(run_dir):
    """Returns the fraction that a run held out, if its settings say it."""
    path = pathlib.Path(run_dir) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    name = "test_fraction"
    return {name: settings[name]} if name in settings else {}


def precision_costs(classifier, texts, labels):
    """Measures exports of a classifier in each precision.

    Args:
        classifier: `ulmfit_tf.pretrained.TrainedClassifier`.
        texts: List of str.
        labels: Labels of the texts, see `TextDataset`.

    Returns:
        Dict by precision of dicts: `error` in %,
        `largest_probability_difference` and `labels_changed`, texts with
        another answer, against `classifier.predict`, and `size_ratio`,
        bytes on disk over those of the float32 weights.
    """
    import numpy as np

    from serving.saved_model import export_classifier, size_on_disk
    from serving.session_model import SessionModel

    expected = classifier.predict(texts, portable=True)
    decide = classifier.decision.answers
    weight_bytes = sum(
        array.nbytes
        for weights in classifier.weights.values()
        for array in weights.values()
    )
    costs = {}
    for precision in PRECISIONS:
        logging.info("Measuring %s.", precision)
        with tempfile.TemporaryDirectory(prefix="ulmfit_tf_") as directory:
            version = export_classifier(
                classifier, directory, precision=precision
            )
            model = SessionModel(version)
            answers = np.concatenate(
                [
                    _ask(model, texts[start : start + _BATCH])
                    for start in range(0, len(texts), _BATCH)
                ]
            )
            model.close()
            size = size_on_disk(version)
        chosen = decide(answers)
        costs[precision] = {
            "error": round(100 * _differ(chosen, labels) / len(texts), 4),
            "largest_probability_difference": float(
                np.abs(answers - expected).max()
            ),
            "labels_changed": _differ(chosen, decide(expected)),
            "size_ratio": round(size / weight_bytes, 4),
        }
        logging.info("%s", costs[precision])
    return costs


def _differ(answers, others):
    """Returns how many texts have another answer."""
    return int((answers != others).reshape(len(answers), -1).any(1).sum())


def _ask(model, texts):
    import numpy as np

    array = np.empty(len(texts), object)
    array[:] = [text.encode("utf-8") for text in texts]
    outputs = model.run("serving_default", {"text": array}, ["probabilities"])
    return outputs["probabilities"]


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m serving.precision_cost",
        description="Measures what smaller weights cost in accuracy.",
    )
    parser.add_argument(
        "--run-dir", required=True, help="run folder of trainers.classifier"
    )
    parser.add_argument(
        "--dataset", required=True, help="name or path, with a test split"
    )
    parser.add_argument("--data-dir", help="folder to look for the data in")
    parser.add_argument("--text-column", help="of a file, by default text")
    parser.add_argument(
        "--label-column", action="append", help="of a file, by default label"
    )
    return parser


if __name__ == "__main__":
    command_line.run(main)
