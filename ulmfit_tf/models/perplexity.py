"""Perplexity as a Keras metric."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class Perplexity(keras.metrics.Mean):
    """Exponential of the mean of token losses.

    Every token counts the same, however many a batch has.

    Call arguments:
        losses: Float tensor of any shape, such as `(batch, timesteps)`, the
            loss of each token in nats.

    Returns:
        Float scalar.
    """

    def update_state(self, losses):
        # Keras' mean would weigh the rows of a batch alike, and so the tokens
        # of a short window more.
        super().update_state(ops.reshape(losses, (-1,)))

    def result(self):
        return ops.exp(super().result())
