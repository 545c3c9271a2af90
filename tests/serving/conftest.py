"""A tiny exported classifier, and a server of it, for all tests here."""

import json
import subprocess
import sys

import numpy as np
import pytest

from serving.grpc_client import Client
from serving.model_server import Server, ServerOptions
from serving.model_source import ModelSource
from serving.saved_model import export_classifier
from ulmfit_tf import models, text
from ulmfit_tf.data import TaskType
from ulmfit_tf.pretrained import Decision, TrainedClassifier

WORDS = ["what", "is", "the", "capital", "of", "france", "who", "wrote"]
WORDS += ["this", "and", "when", "how", "many", "was", "a", "film", "that"]
WORDS += ["i", "would", "not", "see", "again", "one", "sentence", "another"]
SETTINGS = {
    "architecture": {"embedding_units": 8, "hidden_units": 12, "num_layers": 3},
    "head_units": 5,
    # Short, so that a long document has many chunks and a read prefix.
    "chunk_length": 10,
    "pooled_length": 40,
}


def _make_classifier(
    directions=("forward", "backward"),
    classes=("ABBR", "DESC", "ENTY"),
    tokenizer=None,
    seed=0,
    thresholds=None,
    settings=SETTINGS,
    spread=1.0,
):
    """Returns a `TrainedClassifier` with random weights.

    With `thresholds` it is a multi-label one. `spread` is the weights'
    standard deviation.
    """
    if tokenizer is None:
        vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, *WORDS])
        tokenizer = text.WordTokenizer(vocabulary)
    model = models.TextClassifier(
        len(tokenizer.vocabulary), len(classes), **settings
    )
    model.build()
    rng = np.random.default_rng(seed)
    weights = {
        direction: {
            # Variances must not be negative; large weights spread answers.
            name: np.abs(rng.normal(size=variable.shape)).astype("float32")
            if "variance" in name
            else rng.normal(0, spread, variable.shape).astype("float32")
            for name, variable in models.classifier_weights(model).items()
        }
        for direction in directions
    }
    decision = None
    if thresholds is not None:
        decision = Decision(TaskType.MULTI_LABEL, tuple(thresholds))
    return TrainedClassifier(
        tuple(classes), tokenizer, settings, weights, {"seed": seed}, decision
    )


@pytest.fixture(scope="session")
def make_classifier():
    return _make_classifier


@pytest.fixture(scope="session")
def classifier():
    return _make_classifier()


@pytest.fixture(scope="session")
def model_directory(classifier, tmp_path_factory):
    """Folder `questions` with version 1, checked as users' exports are."""
    directory = tmp_path_factory.mktemp("served") / "questions"
    export_classifier(classifier, directory, figures={"test_error": 7.0})
    return directory


@pytest.fixture
def start_server():
    """Starts `python -m serving.server`; returns `(process, addresses)`."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.server", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        line = process.stdout.readline()
        assert line, f"The server ended with status {process.wait()}."
        return process, json.loads(line)

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def server(model_directory):
    """A server of `questions` with REST and metrics."""
    server = Server(
        [ModelSource("questions", model_directory)],
        ServerOptions(
            port=0,
            rest_port=0,
            max_message_bytes=1 << 20,
            max_rows=1000,
            metrics_path="/monitoring/prometheus/metrics",
        ),
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server):
    with Client(f"127.0.0.1:{server.port}", "questions") as client:
        yield client
