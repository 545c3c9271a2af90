"""Answers over gRPC are the trainer's on a whole test set.

With random weights of the `compact` preset by default; with a trained run:

    AGREEMENT_RUN_DIR=RUN pytest tests/serving/test_trainer_agreement.py
"""

import dataclasses
import json
import os

import numpy as np
import pytest

from serving.grpc_client import Client
from serving.model_server import Server, ServerOptions
from serving.model_source import ModelSource
from serving.saved_model import export_classifier, size_on_disk
from ulmfit_tf import data, models
from ulmfit_tf.models.presets import ARCHITECTURES
from ulmfit_tf.pretrained import TrainedClassifier, load_pretrained

pytestmark = [pytest.mark.slow, pytest.mark.serving]

RUN_DIR = os.environ.get("AGREEMENT_RUN_DIR")


@pytest.fixture(scope="module")
def dataset():
    """TREC-6 where its files are at hand, else the embedded questions."""
    root = os.environ.get("ULMFIT_TF_DATA")
    has_trec = root and os.path.exists(
        os.path.join(root, "trec6", "TREC_10.label")
    )
    return data.load_dataset("trec6" if has_trec else "questions")


def _random_classifier(classes):
    settings = {
        "architecture": dataclasses.asdict(ARCHITECTURES["compact"]),
        "head_units": 50,
        "chunk_length": 70,
        "pooled_length": 1400,
    }
    tokenizer = load_pretrained(["compact"], "forward").tokenizer
    model = models.TextClassifier(
        len(tokenizer.vocabulary), len(classes), **settings
    )
    model.build()
    rng = np.random.default_rng(0)
    weights = {}
    for name, variable in models.classifier_weights(model).items():
        array = variable.numpy()
        if "embedding" in name or "head" in name and array.ndim == 2:
            # Words that differ much, so that questions' answers do too.
            array = rng.normal(size=array.shape).astype("float32")
        weights[name] = array
    return TrainedClassifier(classes, tokenizer, settings, {"forward": weights})


@pytest.fixture(scope="module")
def classifier(dataset):
    if RUN_DIR:
        return TrainedClassifier.from_preset(
            os.path.join(RUN_DIR, "classifier")
        )
    return _random_classifier(dataset.classes)


@pytest.fixture(scope="module")
def version(classifier, tmp_path_factory):
    return export_classifier(
        classifier, tmp_path_factory.mktemp("agreement") / "compact"
    )


def test_every_answer_over_grpc_is_the_trainers(dataset, classifier, version):
    expected = classifier.predict(dataset.test_texts)
    labels = [classifier.classes[index] for index in expected.argmax(1)]
    # A model that always says the same would agree too easily.
    assert len(set(labels)) > 2
    server = Server(
        [ModelSource("compact", version.parent)], ServerOptions(port=0)
    )
    server.start()
    try:
        with Client(f"127.0.0.1:{server.port}", "compact") as client:
            for batch_size in (1, 7):
                answers = [
                    prediction
                    for _, prediction in client.predict_stream(
                        dataset.test_texts, batch_size=batch_size
                    )
                ]
                assert [answer.label for answer in answers] == labels
                got = np.array(
                    [
                        [answer.probabilities[name] for name in dataset.classes]
                        for answer in answers
                    ]
                )
                assert np.abs(got - expected).max() < 1e-5
    finally:
        server.stop()


def test_an_export_is_hardly_larger_than_its_weights(classifier, version):
    weights = sum(
        array.nbytes
        for of_direction in classifier.weights.values()
        for array in of_direction.values()
    )
    assert size_on_disk(version) < 1.1 * weights
    described = json.loads((version / "export.json").read_text())["sha256"]
    files = {
        str(path.relative_to(version))
        for path in version.rglob("*")
        if path.is_file()
    }
    assert set(described) == files - {"export.json"}
