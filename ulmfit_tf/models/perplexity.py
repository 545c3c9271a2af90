"""Perplexity as a Keras metric."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class Perplexity(keras.metrics.Mean):
    """Exponential of the mean of token losses in nats."""

    def result(self):
        return ops.exp(super().result())
