"""Peak memory of training and inference; each in a process of its own."""

import resource

import tensorflow as tf

from benchmarks.ours import classifier
from benchmarks.synthetic import token_windows
from ulmfit_tf.pretrained import document_probabilities


def training(vocabulary_size, length):
    """Returns a function that measures the peak in MiB after two steps."""
    model = classifier.trainable_classifier(vocabulary_size, "float32")
    # Batch norm needs two documents.
    documents = list(token_windows(vocabulary_size, 2, length))
    stream = iter(classifier.training_batches(documents, 2).dataset())
    model.make_train_function()

    def measure():
        for _ in range(2):
            model.train_function(stream)
        float(model.get_metrics_result()["loss"])
        return _peak()

    return measure


def inference(vocabulary_size, length):
    """Returns a function that measures the peak in MiB."""
    pair = classifier.random_classifier(vocabulary_size).build()
    ids = token_windows(vocabulary_size, 1, length)
    documents = tf.RaggedTensor.from_tensor(tf.constant(ids, tf.int32))

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)])
    def predict(documents):
        return document_probabilities(pair, documents)

    def measure():
        predict(documents).numpy()
        return _peak()

    return measure


def _peak():
    # Kibibytes on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
