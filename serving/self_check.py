"""What an export must pass before it is published, in its own process."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

from serving.allowed_operations import unknown_operations

# Where absolute paths begin on Unix machines.
_ROOTS = (
    *("/home", "/root", "/tmp", "/usr", "/var", "/opt", "/mnt", "/srv"),
    *("/Users", "/private"),
)
_ROOT = pathlib.Path(__file__).resolve().parent.parent


# A check takes seconds to minutes; one that hangs must not hold up a run.
_TIMEOUT_SECONDS = 3600


def check_in_fresh_process(
    directory,
    texts,
    probabilities,
    classes,
    decision,
    tolerance=1e-5,
    token_ids=None,
    tokens=None,
):
    """Loads an export where nothing of this process helps, and compares.

    Args:
        directory: Path of the SavedModel.
        texts: List of str or bytes.
        probabilities: Float array `(texts, classes)`, what it must answer.
        classes: Sequence of str.
        decision: Dict of `thresholds`, a list or `None`, and
            `label_separator`: how probabilities become labels.
        tolerance: Float, how far a probability may be off.
        token_ids: Optional list of lists of int, what the trainer's
            tokenizer makes of the texts.
        tokens: List of lists of bytes, the same as strings, beside
            `token_ids`.

    Raises:
        RuntimeError: If the export does not load, answers otherwise or
            contains what TF Serving cannot run.
    """
    question = {
        # The process runs in another folder than this one.
        "directory": os.path.abspath(directory),
        "texts": [_as_bytes(text).hex() for text in texts],
        "probabilities": [[float(p) for p in row] for row in probabilities],
        "classes": list(classes),
        "decision": decision,
        "tolerance": tolerance,
        "token_ids": token_ids,
        "tokens": tokens and [[t.hex() for t in row] for row in tokens],
    }
    try:
        process = subprocess.run(
            [sys.executable, "-m", "serving.self_check"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            cwd=_ROOT,
            # The parent may hold all of a GPU's memory.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            "The export was not published: its check did not end within "
            f"{_TIMEOUT_SECONDS} seconds."
        ) from error
    if process.returncode:
        raise RuntimeError(
            "The export failed its check and was not published: "
            + process.stderr.strip()[-4000:]
        )


def foreign_paths(directory, classes=()):
    """Returns absolute paths found in the files of a SavedModel.

    A path that only exists where the model was exported makes it fail, or
    read something else, on the server.

    Args:
        directory: Path of the SavedModel.
        classes: Names that may look like paths and are none, sequence of str.
    """
    # Not the weights, whose bytes may be anything, nor the vocabulary, whose
    # words may look like paths, nor the description, which no server reads.
    content = b"\0".join(
        path.read_bytes()
        for path in sorted(pathlib.Path(directory).rglob("*"))
        if path.is_file()
        and not path.name.startswith("variables.data")
        and path.parent.name != "assets"
        and path.name != "export.json"
    )
    # One that is part of another would leave the rest of that.
    for name in sorted(classes, key=len, reverse=True):
        # A single component looks like no path.
        if name.count("/") > 1:
            content = content.replace(name.encode("utf-8"), b"\0")
    places = [sys.prefix, sys.base_prefix, str(_ROOT), tempfile.gettempdir()]
    places.append(os.path.expanduser("~"))
    roots = {*_ROOTS, *(place for place in places if place[1:])}
    within = "|".join(map(re.escape, sorted(roots)))
    found = set(re.findall(rf"(?:{within})/[\w./-]+".encode(), content))
    # Names of operations look like paths, too, but there is no such file.
    for path in set(re.findall(rb"(?:/[\w.-]+){2,}", content)):
        ends = [path[slash.start() :] for slash in re.finditer(b"/", path)]
        found.update(filter(os.path.exists, ends[:-1]))
    return sorted(path.decode() for path in found)


def _as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8")


def _labels(probabilities, classes, decision):
    """Returns the labels that follow from probabilities, a list of bytes."""
    if decision["thresholds"] is None:
        return [classes[index] for index in probabilities.argmax(1)]
    thresholds = np.array(decision["thresholds"], "float32")
    separator = decision["label_separator"].encode("utf-8")
    return [
        separator.join(
            name
            for name, answered in zip(classes, row, strict=True)
            if answered
        )
        for row in probabilities >= thresholds
    ]


def _is_close(probabilities, decision, tolerance):
    """Whether a text's label may change within the tolerance, by text."""
    if decision["thresholds"] is None:
        ordered = np.sort(probabilities, axis=1)
        return ordered[:, -1] - ordered[:, -2] <= 2 * tolerance
    distances = np.abs(probabilities - np.array(decision["thresholds"]))
    return distances.min(axis=1, initial=np.inf) <= tolerance


def _example(text):
    """Returns a text as the serialized `tf.Example` of Classify."""
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    example.features.feature["text"].bytes_list.value.append(text)
    return example.SerializeToString()


def _check(question):
    """Returns what is wrong with an export, a list of str."""
    from serving.session_model import SessionModel

    model = SessionModel(question["directory"])
    texts = [bytes.fromhex(text) for text in question["texts"]]
    expected = np.array(question["probabilities"], "float32")
    classes = [name.encode("utf-8") for name in question["classes"]]
    wrong = []

    def compare(indices):
        given = np.array([texts[i] for i in indices], object)
        got = model.run("serving_default", {"text": given})
        want = expected[list(indices)].reshape(len(given), len(classes))
        error = np.abs(got["probabilities"] - want)
        if error.size and not error.max() < question["tolerance"]:
            wrong.append(
                f"probabilities differ from the trainer's by {error.max()} "
                f"in a batch of {len(given)}"
            )
        labels = _labels(want, classes, question["decision"])
        # Where it is a close call, rounding may decide.
        close = _is_close(want, question["decision"], question["tolerance"])
        own = _labels(got["probabilities"], classes, question["decision"])
        for label, *allowed, may_differ in zip(
            got["label"], labels, own, close, strict=True
        ):
            if label not in allowed[: 1 + may_differ]:
                wrong.append(f"label {label} is not the trainer's {allowed[0]}")
        if got["classes"].tolist() != [classes] * len(given):
            wrong.append(f"classes are {got['classes'][:1]}")

    def compare_classify():
        examples = np.array([_example(text) for text in texts], object)
        got = model.run("classify", {"inputs": examples})
        error = np.abs(got["scores"] - expected)
        if error.size and not error.max() < question["tolerance"]:
            wrong.append(f"scores of classify differ by {error.max()}")
        if got["classes"].tolist() != [classes] * len(texts):
            wrong.append(f"classes of classify are {got['classes'][:1]}")

    def compare_tokens():
        got = model.run("tokens", {"text": np.array(texts, object)})
        for ids, tokens, length, want, names in zip(
            got["token_ids"],
            got["tokens"],
            got["lengths"],
            question["token_ids"],
            question["tokens"],
            strict=True,
        ):
            if ids[:length].tolist() != want:
                wrong.append(f"tokens are {ids[:length]}, not {want}")
            if [token.hex() for token in tokens[:length]] != names:
                wrong.append(f"the strings of tokens are {tokens[:length]}")

    compare_classify()
    if question["token_ids"] is not None:
        compare_tokens()
    everything = range(len(texts))
    compare([])
    compare(everything)
    compare(everything[::-1])
    for index in everything:
        compare([index])
    operations = unknown_operations(model.meta_graph)
    if operations:
        wrong.append(
            f"operations that TF Serving is not known to run: {operations}"
        )
    paths = foreign_paths(question["directory"], question["classes"])
    if paths:
        wrong.append(f"absolute paths: {paths[:5]}")
    if "ulmfit_tf" in sys.modules:
        wrong.append("loading needed ulmfit_tf, which the server lacks")
    return wrong


def main():
    """Checks the export that a question on standard input names."""
    wrong = _check(json.load(sys.stdin))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
