"""Training and inference of `models.TextClassifier`."""

import dataclasses
import time

import keras
import numpy as np
import tensorflow as tf

from benchmarks.documents import (
    single_text,
    texts,
    token_documents,
    training_documents,
)
from trainers.optimizers import group_optimizers
from ulmfit_tf import models
from ulmfit_tf.data.chunks import DocumentBatches
from ulmfit_tf.data.token_cache import TokenizedCorpus
from ulmfit_tf.pretrained import TrainedClassifier, document_probabilities
from ulmfit_tf.text import SPECIAL_TOKENS, Vocabulary, WordTokenizer
from ulmfit_tf.training import DiscriminativeOptimizer

_CLASSES = 2


def training_batches(documents, batch):
    """Returns the `DocumentBatches` of token documents."""
    corpus = TokenizedCorpus.from_documents(
        [ids.astype("int32") for ids in documents]
    )
    labels = np.eye(_CLASSES, dtype="float32")[
        np.arange(len(documents)) % _CLASSES
    ]
    return DocumentBatches(corpus, labels, batch)


def trainable_classifier(vocabulary_size, precision, preset="paper"):
    """Returns a compiled classifier with all dropouts and clipping."""
    keras.utils.set_random_seed(0)
    model = models.TextClassifier(
        vocabulary_size,
        _CLASSES,
        models.ARCHITECTURES[preset],
        dropouts=models.CLASSIFIER_DROPOUTS,
        dtype=precision,
    )
    model.build()
    groups = model.layer_groups
    optimizers = group_optimizers([0.01] * len(groups), 1e-6)
    model.compile(
        DiscriminativeOptimizer(model, groups, optimizers, 25.0),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    return model


def training(vocabulary_size, batches, batch, precision, preset="paper"):
    """Returns a function that measures documents a second of an epoch."""
    model = trainable_classifier(vocabulary_size, precision, preset)
    documents = training_documents(batches, batch, vocabulary_size)
    epoch = training_batches(documents, batch)
    model.make_train_function()

    def measure():
        stream = iter(epoch.dataset())
        started = time.perf_counter()
        for _ in range(epoch.steps_per_epoch):
            model.train_function(stream)
        float(model.get_metrics_result()["loss"])
        return len(documents) / (time.perf_counter() - started)

    return measure


def random_classifier(vocabulary_size, preset="paper"):
    """Returns a `TrainedClassifier` of random weights.

    Its vocabulary is the special tokens, the texts' commonest words and
    made-up ones.
    """
    keras.utils.set_random_seed(0)
    words = dict.fromkeys(
        word for text in texts(64)[1] for word in text.lower().split()
    )
    words = [*SPECIAL_TOKENS, *(w for w in words if w not in SPECIAL_TOKENS)]
    words += [f"unseen{index}" for index in range(vocabulary_size)]
    settings = {
        "architecture": dataclasses.asdict(models.ARCHITECTURES[preset]),
        "head_units": 50,
        "chunk_length": 70,
        "pooled_length": 1400,
    }
    model = models.TextClassifier(vocabulary_size, _CLASSES, **settings)
    model.build()
    weights = {
        name: np.array(variable)
        for name, variable in models.classifier_weights(model).items()
    }
    return TrainedClassifier(
        ("negative", "positive"),
        WordTokenizer(Vocabulary(words[:vocabulary_size])),
        settings,
        {"forward": weights},
    )


def single_predictions(
    vocabulary_size, text_kind, preset="paper", dtype="float32"
):
    """Returns a function that measures texts a second, one at a time.

    From the text to its probabilities, in one graph, as it is served.
    """
    classifier = random_classifier(vocabulary_size, preset)
    pair = classifier.build(dtype=dtype)
    text = single_text(text_kind)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def predict(texts):
        ids = classifier.tokenizer(texts)
        return document_probabilities(pair, ids)

    def measure():
        started = time.perf_counter()
        predict([text]).numpy()
        return 1 / (time.perf_counter() - started)

    return measure


def batch_predictions(
    vocabulary_size, documents, batch, preset="paper", dtype="float32"
):
    """Returns a function that measures documents a second, ids ready."""
    classifier = random_classifier(vocabulary_size, preset)
    pair = classifier.build(dtype=dtype)
    ids = sorted(token_documents(documents, vocabulary_size), key=len)
    batches = [
        tf.ragged.constant(
            [list(map(int, part)) for part in ids[start : start + batch]],
            dtype=tf.int32,
        )
        for start in range(0, documents, batch)
    ]

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)])
    def predict(documents):
        return document_probabilities(pair, documents)

    def measure():
        started = time.perf_counter()
        for part in batches:
            predict(part).numpy()
        return documents / (time.perf_counter() - started)

    return measure
