"""Decoder that shares the embedding's matrix, and the sampled softmax."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class TiedDecoder(keras.layers.Layer):
    """Maps hidden states to next-word logits with the embedding matrix.

    `logits = hidden @ embeddings^T + bias` (weight tying: Inan et al., 2017;
    Press & Wolf, 2017). The matrix belongs to the embedding layer and is
    handed in at every call; the bias is this layer's own.

    Args:
        vocabulary_size: Int, rows of the embedding matrix.

    Call arguments:
        hidden: Float tensor `(batch, timesteps, units)`.
        embeddings: Float tensor `(vocabulary_size, units)`.

    Output shape:
        `(batch, timesteps, vocabulary_size)`, float32.
    """

    def __init__(self, vocabulary_size, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.vocabulary_size = vocabulary_size

    def build(self, hidden_shape, embeddings_shape=None):
        # Logits are float32: the bias must not pass through bfloat16 before.
        self.bias = self.add_weight(
            name="bias",
            shape=(self.vocabulary_size,),
            initializer="zeros",
            autocast=False,
        )
        self.built = True

    def call(self, hidden, embeddings):
        logits = ops.matmul(
            ops.cast(hidden, self.compute_dtype),
            ops.transpose(ops.cast(embeddings, self.compute_dtype)),
        )
        return ops.cast(logits, "float32") + ops.cast(self.bias, "float32")

    def losses_of(self, hidden, targets, embeddings, training=True):
        """Cross-entropy of each position, float32, in nats.

        On TensorFlow the logits of all positions are never there at once.

        Args:
            hidden: Float tensor `(batch, timesteps, units)`.
            targets: Int tensor `(batch, timesteps)`.
            embeddings: Float tensor `(vocabulary_size, units)`.
            training: Bool, whether gradients will be asked for.
        """
        if keras.backend.backend() != "tensorflow":
            return ops.sparse_categorical_crossentropy(
                targets, self(hidden, embeddings), from_logits=True
            )
        # TensorFlow only, so imported only where TensorFlow runs.
        from ulmfit_tf.layers.softmax_loss import (
            evaluated_softmax_loss,
            softmax_loss,
        )

        losses = (softmax_loss if training else evaluated_softmax_loss)(
            ops.reshape(
                ops.cast(hidden, self.compute_dtype), (-1, hidden.shape[-1])
            ),
            ops.reshape(ops.cast(targets, "int32"), (-1,)),
            ops.convert_to_tensor(embeddings),
            ops.convert_to_tensor(self.bias),
        )
        return ops.reshape(losses, ops.shape(targets))

    def compute_output_shape(self, hidden_shape, embeddings_shape=None):
        return (*hidden_shape[:-1], self.vocabulary_size)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
        }


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class SampledSoftmax(keras.layers.Layer):
    """Estimates the softmax loss from a sample of the vocabulary.

    The words of the sample are shared by the whole batch and drawn without
    replacement, word of rank `r` with weight `log((r + 2) / (r + 1))`: the
    log-uniform distribution, which follows word frequency where ids are in
    frequency order. The normalizer of each position is the target's own term
    plus the sampled terms, each divided by its probability of being sampled;
    a sampled word that is the target is left out. The estimate of the
    normalizer is unbiased.

    Sampling takes the largest of Gumbel-perturbed log-weights; given the
    first one left out, `threshold`, word `i` is included with probability
    `1 - exp(-exp(log_weight_i - threshold))` (Kool et al., 2019,
    "Stochastic Beams and Where to Find Them", section 4.2).

    Args:
        sample_size: Int, number of words drawn in a step.

    Call arguments:
        hidden: Float tensor `(batch, timesteps, units)`.
        targets: Int tensor `(batch, timesteps)`.
        embeddings: Float tensor `(vocabulary_size, units)`.
        bias: Float tensor `(vocabulary_size,)`.

    Output shape:
        `(batch, timesteps)`, float32, nats.

    Raises:
        ValueError: If `sample_size` is not smaller than the vocabulary.
    """

    def __init__(self, sample_size, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        # Keras would round the bias, and the whole matrix in place of the
        # rows that are looked up.
        self._convert_input_args = False
        self.sample_size = sample_size
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, hidden, targets, embeddings, bias):
        vocabulary_size, units = embeddings.shape
        if self.sample_size >= vocabulary_size:
            raise ValueError(
                "`sample_size` must be smaller than the vocabulary. "
                f"Received: sample_size={self.sample_size}, "
                f"vocabulary_size={vocabulary_size}. Use the full softmax."
            )
        sampled, log_inclusion = self._sample(vocabulary_size)
        states = ops.reshape(ops.cast(hidden, self.compute_dtype), (-1, units))
        flat_targets = ops.reshape(ops.cast(targets, "int32"), (-1,))
        # One look-up for both, as each look-up costs the backward pass a
        # matrix of the vocabulary's size.
        ids = ops.concatenate([flat_targets, sampled], axis=0)
        rows = ops.cast(ops.take(embeddings, ids, axis=0), self.compute_dtype)
        biases = ops.cast(ops.take(bias, ids, axis=0), "float32")
        count = ops.shape(flat_targets)[0]
        target_logits = (
            ops.sum(
                ops.cast(states * rows[:count], "float32"),
                axis=-1,
            )
            + biases[:count]
        )
        sampled_logits = ops.matmul(states, ops.transpose(rows[count:]))
        sampled_logits = ops.cast(sampled_logits, "float32")
        sampled_logits += biases[count:] - log_inclusion
        is_target = flat_targets[:, None] == sampled[None, :]
        sampled_logits = ops.where(is_target, -1e9, sampled_logits)
        normalizer = ops.logaddexp(
            target_logits, ops.logsumexp(sampled_logits, axis=-1)
        )
        return ops.reshape(normalizer - target_logits, ops.shape(targets))

    def _sample(self, vocabulary_size):
        """Returns sampled ids and their log-probabilities of inclusion."""
        rank = ops.arange(vocabulary_size, dtype="float32")
        log_weights = ops.log(ops.log((rank + 2) / (rank + 1)))
        log_weights -= math.log(math.log(vocabulary_size + 1))
        uniform = keras.random.uniform(
            (vocabulary_size,), 1e-7, 1.0, seed=self.seed_generator
        )
        keys = log_weights - ops.log(-ops.log(uniform))
        values, ids = ops.top_k(keys, self.sample_size + 1)
        ids = ops.cast(ids[:-1], "int32")
        rate = ops.exp(ops.take(log_weights, ids) - values[-1])
        return ids, ops.log(-ops.expm1(-rate))

    def get_config(self):
        return {**super().get_config(), "sample_size": self.sample_size}
