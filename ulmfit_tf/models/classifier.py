"""The text classifier: AWD-LSTM encoder, concat pooling, two linear blocks."""

import dataclasses

import keras
from keras import ops

from ulmfit_tf import layers
from ulmfit_tf.models.encoder import AWDLSTMEncoder
from ulmfit_tf.models.presets import Architecture, Dropouts


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class TextClassifier(keras.Model):
    """Classifies documents of any length (Howard & Ruder, 2018, section 3.3).

    BPT3C: the state is zero at the start of each document and carried
    through it in chunks of `chunk_length`, between which its gradient is cut.
    Pooling and gradient cover the last `pooled_length` tokens; what comes
    before only moves the state, chunk by chunk, and is not kept, so that
    memory does not grow with a document's length.

    The head is batch norm, dropout, linear, ReLU, batch norm, dropout,
    linear. It computes in float32.

    Args:
        vocabulary_size: Int.
        num_classes: Int.
        architecture: `Architecture`.
        dropouts: `Dropouts` of the encoder.
        head_units: Int, width of the first linear block.
        head_dropouts: Two floats, before each linear layer.
        chunk_length: Int, tokens of a chunk.
        pooled_length: Int, a multiple of `chunk_length`.
        activation_l2: Float, weight of AR, of the hidden states that are
            pooled. The authors' scripts regularize the classifier as they do
            the language model.
        temporal_l2: Float, weight of TAR.

    Call arguments:
        token_ids: Int tensor `(batch, timesteps)` as laid out by
            `ulmfit_tf.data.chunk_documents`: whole chunks after a first
            one that may be shorter.
        training: Bool.

    Output shape:
        `(batch, num_classes)` logits in float32.

    Raises:
        ValueError: If `pooled_length` is no multiple of `chunk_length`.
    """

    def __init__(
        self,
        vocabulary_size,
        num_classes,
        architecture,
        dropouts=None,
        head_units=50,
        head_dropouts=(0.4, 0.1),
        chunk_length=70,
        pooled_length=1400,
        activation_l2=2.0,
        temporal_l2=1.0,
        **kwargs,
    ):
        kwargs.setdefault("name", "text_classifier")
        super().__init__(**kwargs)
        if pooled_length % chunk_length or pooled_length < chunk_length:
            raise ValueError(
                "`pooled_length` must be a multiple of `chunk_length`, so "
                "that pooling starts where a chunk does. Received: "
                f"pooled_length={pooled_length}, chunk_length={chunk_length}."
            )
        if isinstance(architecture, dict):
            architecture = Architecture(**architecture)
        if isinstance(dropouts, dict):
            dropouts = Dropouts(**dropouts)
        self.vocabulary_size = vocabulary_size
        self.num_classes = num_classes
        self.architecture = architecture
        self.dropouts = dropouts or Dropouts()
        self.head_units = head_units
        self.head_dropouts = tuple(head_dropouts)
        self.chunk_length = chunk_length
        self.pooled_length = pooled_length
        self.activation_l2 = activation_l2
        self.temporal_l2 = temporal_l2
        self.encoder = AWDLSTMEncoder(
            vocabulary_size,
            architecture,
            self.dropouts,
            chunk_length=chunk_length,
            dtype=self.dtype_policy,
        )
        self._penalty = 0.0
        self.pooling = layers.ConcatPooling(dtype="float32", name="pooling")
        self.head = keras.Sequential(
            [
                _batch_norm("head_norm_1"),
                keras.layers.Dropout(self.head_dropouts[0], dtype="float32"),
                _linear(head_units, "head_hidden"),
                keras.layers.ReLU(dtype="float32"),
                _batch_norm("head_norm_2"),
                keras.layers.Dropout(self.head_dropouts[1], dtype="float32"),
                _linear(num_classes, "head_logits"),
            ],
            name="head",
        )

    def build(self, input_shape=None):
        self.encoder.build((None, None))
        units = self.architecture.embedding_units
        self.pooling.build((None, None, units))
        self.head.build((None, 3 * units))
        self.built = True

    def call(self, token_ids, training=False):
        kernels = self.encoder.dropped_kernels(training)
        states = self._states_before_pooling(token_ids, training, kernels)
        pooled = token_ids[:, self._prefix_length(token_ids) :]
        hidden, _ = self.encoder(
            pooled,
            initial_states=states,
            training=training,
            recurrent_kernels=kernels,
        )
        mask = self.encoder.embedding.compute_mask(pooled)
        logits = self.head(self.pooling(hidden, mask=mask), training=training)
        if training:
            # The last layer's outputs are not dropped here.
            penalties = layers.activation_penalties(
                hidden, hidden, self.activation_l2, self.temporal_l2, mask
            )
            self._penalty = sum(penalties, start=ops.zeros(()))
        return logits

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The compiled loss, plus AR and TAR in training.

        Not through `add_loss`: replicas share the list that it fills, and
        they take turns in the middle of `call`, at batch norm.
        """
        loss = super().compute_loss(
            x, y, y_pred, sample_weight, training=training
        )
        if training:
            loss += self._aggregate_additional_loss(self._penalty)
        return loss

    def _prefix_length(self, token_ids):
        excess = ops.shape(token_ids)[1] - self.pooled_length
        if isinstance(excess, int):
            return max(excess, 0)
        return ops.maximum(excess, 0)

    def _states_before_pooling(self, token_ids, training, kernels):
        """Reads all but the last `pooled_length` tokens, without gradient."""
        batch = ops.shape(token_ids)[0]
        states = [
            [
                ops.cast(part, "float32")
                for part in lstm.get_initial_state(batch)
            ]
            for lstm in self.encoder.lstms
        ]
        length, prefix = self.chunk_length, self._prefix_length(token_ids)
        num_chunks = (prefix + length - 1) // length

        def read_chunk(index, states):
            # The first chunk may be shorter.
            end = prefix - (num_chunks - 1 - index) * length
            start = end - length
            start = (
                max(start, 0)
                if isinstance(start, int)
                else ops.maximum(start, 0)
            )
            chunk = token_ids[:, start:end]
            _, states = self.encoder(
                chunk,
                initial_states=states,
                training=training,
                recurrent_kernels=kernels,
            )
            return [
                [ops.cast(ops.stop_gradient(p), "float32") for p in state]
                for state in states
            ]

        if isinstance(num_chunks, int):
            for index in range(num_chunks):
                states = read_chunk(index, states)
            return states
        _, states = _in_order(
            lambda index, _: index < num_chunks,
            lambda index, states: (index + 1, read_chunk(index, states)),
            (0, states),
        )
        return [[ops.stop_gradient(p) for p in state] for state in states]

    @property
    def layer_groups(self):
        """Groups from the input up: embedding, each LSTM, head."""
        return [*self.encoder.layer_groups, [self.head]]

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "num_classes": self.num_classes,
            "architecture": dataclasses.asdict(self.architecture),
            "dropouts": dataclasses.asdict(self.dropouts),
            "head_units": self.head_units,
            "head_dropouts": list(self.head_dropouts),
            "chunk_length": self.chunk_length,
            "pooled_length": self.pooled_length,
            "activation_l2": self.activation_l2,
            "temporal_l2": self.temporal_l2,
        }


def _in_order(condition, body, variables):
    """A loop whose steps wait for each other.

    TensorFlow works on ten steps at a time, and so would keep the dropped
    kernels of ten chunks.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.while_loop(condition, body, variables)
    import tensorflow as tf

    return tf.while_loop(condition, body, variables, parallel_iterations=1)


def _batch_norm(name):
    # PyTorch's defaults: its momentum 0.1 is Keras' 0.9.
    return keras.layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-5,
        synchronized=keras.backend.backend() == "tensorflow",
        dtype="float32",
        name=name,
    )


def _linear(units, name):
    # He et al. (2015), as the authors' scripts initialize the head.
    return keras.layers.Dense(
        units, kernel_initializer="he_normal", dtype="float32", name=name
    )
