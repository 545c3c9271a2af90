"""The rate of large matrix products, which bounds every training step."""

import time

import tensorflow as tf

from ulmfit_tf import models

_SIZE = 2048


def language_model_bound(
    vocabulary_size, batch, timesteps, precision, preset="paper"
):
    """Returns a function that measures tokens a second.

    It is the rate at which the processor does the multiplications of a
    training step, a forward pass and twice as many in the backward pass,
    where it does nothing but multiply large square matrices.
    """
    del batch, timesteps
    sizes = models.ARCHITECTURES[preset]
    embedding, hidden = sizes.embedding_units, sizes.hidden_units
    widths = [embedding, *[hidden] * (sizes.num_layers - 1), embedding]
    multiplications = embedding * vocabulary_size + sum(
        4 * units * (features + units)
        for features, units in zip(widths, widths[1:], strict=False)
    )
    matrix = tf.cast(
        tf.random.stateless_normal((_SIZE, _SIZE), [0, 1]), precision
    )

    @tf.function
    def multiply():
        return tf.matmul(matrix, matrix)[0, 0]

    def measure():
        repeats = 10
        started = time.perf_counter()
        for _ in range(repeats):
            multiply().numpy()
        seconds = (time.perf_counter() - started) / repeats
        return _SIZE**3 / seconds / (3 * multiplications)

    return measure
