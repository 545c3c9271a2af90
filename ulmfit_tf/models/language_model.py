"""The AWD-LSTM language model with tied weights and a carried state."""

import dataclasses

import keras
from keras import ops

from ulmfit_tf import layers
from ulmfit_tf.models.encoder import AWDLSTMEncoder
from ulmfit_tf.models.perplexity import Perplexity
from ulmfit_tf.models.presets import Architecture, Dropouts


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class LanguageModel(keras.Model):
    """Predicts the next word at every position of contiguous streams.

    Row `r` of a batch continues row `r` of the batch before: the final
    hidden states are kept in variables, one set per replica, and start the
    next call. Training and evaluation each have their own set, so that
    validating in the middle of an epoch leaves the training stream alone.

    While it is trained or evaluated, the model returns hidden states instead
    of logits and its loss reads the softmax from them, so that the logits of
    all positions and words are never there at once.

    Args:
        vocabulary_size: Int.
        architecture: `Architecture`.
        batch_size: Int, rows of a batch on each replica.
        dropouts: `Dropouts`.
        activation_l2: Float, weight of AR.
        temporal_l2: Float, weight of TAR.
        sample_size: Optional int: trains with a softmax sampled from that
            many words. Evaluation always uses the whole vocabulary.

    Call arguments:
        inputs: Dict of `token_ids`, int `(batch, timesteps)`, and
            `stream_start`, bool or int `(batch,)`: rows whose state is zero
            before this window.
        training: Bool.

    Output shape:
        `(batch, timesteps, vocabulary_size)` logits in float32; while
        training, and inside of `evaluate`, `(batch, timesteps,
        embedding_units)` hidden states.
    """

    def __init__(
        self,
        vocabulary_size,
        architecture,
        batch_size,
        dropouts=None,
        activation_l2=2.0,
        temporal_l2=1.0,
        sample_size=None,
        **kwargs,
    ):
        kwargs.setdefault("name", "language_model")
        super().__init__(**kwargs)
        if isinstance(architecture, dict):
            architecture = Architecture(**architecture)
        if isinstance(dropouts, dict):
            dropouts = Dropouts(**dropouts)
        self.vocabulary_size = vocabulary_size
        self.architecture = architecture
        self.batch_size = batch_size
        self.dropouts = dropouts or Dropouts()
        self.activation_l2 = activation_l2
        self.temporal_l2 = temporal_l2
        self.sample_size = sample_size
        self.encoder = AWDLSTMEncoder(
            vocabulary_size,
            architecture,
            self.dropouts,
            # Streams are cut from contiguous text.
            has_padding=False,
            dtype=self.dtype_policy,
        )
        self.output_dropout = keras.layers.SpatialDropout1D(
            self.dropouts.output_dropout, dtype=self.dtype_policy
        )
        self.regularization = layers.ActivationRegularization(
            activation_l2, temporal_l2, dtype=self.dtype_policy
        )
        self.decoder = layers.TiedDecoder(
            vocabulary_size, dtype=self.dtype_policy, name="decoder"
        )
        self.sampled_softmax = (
            layers.SampledSoftmax(sample_size, dtype=self.dtype_policy)
            if sample_size
            else None
        )
        self.perplexity = Perplexity(name="perplexity")
        # A count, since replicas take turns in the middle of theirs.
        self._evaluations = 0

    def build(self, input_shape=None):
        self.encoder.build((None, None))
        units = self.architecture.embedding_units
        self.output_dropout.build((None, None, units))
        self.regularization.build((None, None, units))
        self.decoder.build((None, None, units))
        if self.sampled_softmax is not None:
            self.sampled_softmax.build((None, None, units))
        self._carried_states = {
            purpose: [
                [
                    keras.Variable(
                        ops.zeros((self.batch_size, lstm.units)),
                        trainable=False,
                        aggregation="none",
                        synchronization="on_read",
                        name=f"{purpose}_{lstm.name}_{part}",
                    )
                    for part in ("hidden", "cell")
                ]
                for lstm in self.encoder.lstms
            ]
            for purpose in ("training", "evaluation")
        }
        self.built = True

    def call(self, inputs, training=False):
        hidden = self._hidden_states(inputs, training)
        if training or self._evaluations:
            return hidden
        return self.decoder(hidden, self.encoder.embedding.embeddings)

    def test_step(self, *args, **kwargs):
        self._evaluations += 1
        try:
            return super().test_step(*args, **kwargs)
        finally:
            self._evaluations -= 1

    def losses_of(self, inputs, targets):
        """Loss of each position as in evaluation, carrying the states on.

        Args:
            inputs: See `Call arguments`.
            targets: Int tensor `(batch, timesteps)`.

        Returns:
            Float32 tensor `(batch, timesteps)`, in nats.
        """
        return self._evaluation_losses(
            self._hidden_states(inputs, training=False), targets
        )

    def _hidden_states(self, inputs, training):
        variables = self._carried_states[
            "training" if training else "evaluation"
        ]
        continues = ops.logical_not(inputs["stream_start"])
        continues = ops.cast(continues, "float32")[:, None]
        initial_states = [
            [continues * ops.convert_to_tensor(part) for part in state]
            for state in variables
        ]
        raw, states = self.encoder(
            inputs["token_ids"],
            initial_states=initial_states,
            training=training,
        )
        for kept, new in zip(variables, states, strict=True):
            for variable, value in zip(kept, new, strict=True):
                variable.assign(ops.cast(value, "float32"))
        dropped = self.output_dropout(raw, training=training)
        return self.regularization(dropped, raw, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Mean cross-entropy in nats a token, plus AR and TAR in training.

        Raises:
            ValueError: If there is a `sample_weight`.
        """
        if sample_weight is not None:
            raise ValueError(
                "`LanguageModel` weighs every token the same. "
                "Received: `sample_weight`. Leave it out of the data set."
            )
        if training:
            losses = self._training_losses(y_pred, y)
        else:
            losses = self._evaluation_losses(y_pred, y)
        self.perplexity.update_state(losses)
        terms = [ops.mean(losses), *self.losses]
        # Keras divides by the number of replicas here.
        return sum(self._aggregate_additional_loss(term) for term in terms)

    def _training_losses(self, hidden, targets):
        """Loss of each position, `(batch, timesteps)`, in nats."""
        embeddings = self.encoder.embedding.embeddings
        if self.sampled_softmax is not None:
            return self.sampled_softmax(
                hidden, targets, embeddings, self.decoder.bias
            )
        return self.decoder.losses_of(hidden, targets, embeddings)

    def _evaluation_losses(self, hidden, targets):
        return self.decoder.losses_of(
            hidden, targets, self.encoder.embedding.embeddings, training=False
        )

    @property
    def layer_groups(self):
        """The encoder's groups; the decoder's bias joins the last."""
        groups = self.encoder.layer_groups
        return [*groups[:-1], [*groups[-1], self.decoder]]

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "architecture": dataclasses.asdict(self.architecture),
            "batch_size": self.batch_size,
            "dropouts": dataclasses.asdict(self.dropouts),
            "activation_l2": self.activation_l2,
            "temporal_l2": self.temporal_l2,
            "sample_size": self.sample_size,
        }
