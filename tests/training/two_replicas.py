"""Trains on two replicas and on one; run by `test_two_replicas`.

A script of its own, as the number of devices is fixed when TensorFlow starts.
Writes weights and records to a file, as JSON.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

from ulmfit_tf import models, training
from ulmfit_tf.data.chunks import DocumentBatches, documents_in_length_order
from ulmfit_tf.data.lm_stream import LanguageModelStream
from ulmfit_tf.data.token_cache import TokenizedCorpus

VOCABULARY_SIZE, BATCH, STEPS = 12, 4, 4
ARCHITECTURE = models.Architecture(3, 4, 1)


def make_corpus(num_documents, longest):
    rng = np.random.default_rng(0)
    return TokenizedCorpus.from_documents(
        [
            rng.integers(2, VOCABULARY_SIZE, rng.integers(1, longest))
            for _ in range(num_documents)
        ]
    )


def compiled(model, loss=None):
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    groups = model.layer_groups
    rates = training.discriminative_rates(0.02, len(groups))
    # A large epsilon, or Adam would blow rounding errors up.
    optimizers = [
        keras.optimizers.Adam(rate, epsilon=1e-2, weight_decay=0.1)
        for rate in rates
    ]
    model.compile(
        training.DiscriminativeOptimizer(model, groups, optimizers, 0.2),
        loss=loss,
        metrics=["accuracy"] if loss else None,
    )
    return model


def language_model(replicas, dropouts=None):
    model = models.LanguageModel(
        VOCABULARY_SIZE,
        ARCHITECTURE,
        batch_size=BATCH // replicas,
        dropouts=dropouts,
    )
    model.build()
    training.separate_seeds(model)
    return compiled(model), models.language_model_weights(model)


def language_model_with_dropout(replicas):
    return language_model(replicas, models.LANGUAGE_MODEL_DROPOUTS)


def masks(strategy):
    """What each replica drops, first and after it was drawn once."""
    with strategy.scope():
        model, _ = language_model_with_dropout(2)
        dropout = model.encoder.input_dropout

    @tf.function
    def drawn():
        return strategy.run(
            lambda: dropout(tf.ones((2, 3, 100)), training=True)
        )

    return [
        [
            copy.numpy().tolist()
            for copy in strategy.experimental_local_results(drawn())
        ]
        for _ in range(2)
    ]


def classifier(replicas):
    model = models.TextClassifier(
        VOCABULARY_SIZE,
        3,
        ARCHITECTURE,
        head_units=5,
        head_dropouts=(0.0, 0.0),
        chunk_length=4,
        pooled_length=8,
    )
    model.build()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return compiled(model, loss), models.classifier_weights(model)


def fit(make_model, dataset, strategy, path, **kwargs):
    """Trains two epochs, or what is left of them."""

    class Copy(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if state.step == 3:
                shutil.copy(path, f"{path}.copy")

    state = training.TrainingState(path, every_seconds=0.0)
    with strategy.scope():
        keras.utils.set_random_seed(3)
        model, variables = make_model(strategy.num_replicas_in_sync)
        averaging = training.ExponentialAveraging(variables, state, 0.8)
    state.restore(model)
    records = training.resumable_fit(
        model, dataset, STEPS, 2, state, callbacks=[averaging, Copy()], **kwargs
    )
    weights = models.get_weights(variables)
    averages = models.get_weights(averaging.averages)
    # Equal on all replicas.
    for variable in averaging.averages.values():
        for copy in getattr(variable.value, "values", ()):
            np.testing.assert_array_equal(copy, variable)
    generated = None
    if isinstance(model, models.LanguageModel):
        # In the middle of a run, as its samples are made.
        generated = models.generate(model, [[2, 3]], 5, search="greedy")
        generated = generated.tolist()
    return {
        "generated": generated,
        "weights": {name: a.tolist() for name, a in weights.items()},
        "averages": {name: a.tolist() for name, a in averages.items()},
        "records": records,
    }


def main():
    devices = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        devices[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert two.num_replicas_in_sync == 2
    folder = pathlib.Path(tempfile.mkdtemp())

    stream = LanguageModelStream(make_corpus(30, 60), BATCH, seed=0)
    assert stream.steps_per_epoch >= STEPS
    results = {"masks": masks(two)}
    for name, make_model, strategy, path in (
        ("one", language_model, one, "lm_one"),
        ("two", language_model, two, "lm_two"),
        # What a death after three steps leaves.
        ("resumed", language_model, two, "lm_two.copy"),
        ("dropped", language_model_with_dropout, two, "lm_dropped"),
        (
            "dropped_resumed",
            language_model_with_dropout,
            two,
            "lm_dropped.copy",
        ),
    ):
        results[f"language_model_{name}"] = fit(
            make_model,
            stream.dataset,
            strategy,
            folder / path,
            validation_data=stream.dataset(),
            validation_steps=1,
        )

    corpus = make_corpus(STEPS * BATCH, 17)
    labels = np.eye(3)[np.arange(len(corpus)) % 3]
    batches = DocumentBatches(
        corpus, labels, BATCH, chunk_length=4, num_replicas=2
    )
    assert batches.steps_per_epoch == STEPS
    # An odd number of documents, fewer than a batch.
    validation = documents_in_length_order(
        corpus.select(range(3)), labels[:3], BATCH, False, 4, num_replicas=2
    )
    for name, strategy in (("one", one), ("two", two)):
        results[f"classifier_{name}"] = fit(
            classifier,
            batches.dataset,
            strategy,
            folder / f"classifier_{name}",
            validation_data=validation,
        )
    pathlib.Path(sys.argv[1]).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
