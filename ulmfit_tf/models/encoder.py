"""The AWD-LSTM encoder: token ids to hidden states."""

import dataclasses

import keras

from ulmfit_tf import layers
from ulmfit_tf.models.presets import Architecture, Dropouts


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class AWDLSTMEncoder(keras.Model):
    """Embeds token ids and runs a stack of weight-drop LSTMs over them.

    Merity et al. (2017). The last layer is as wide as the embedding, so that
    a decoder can share the embedding's matrix. Hidden dropout lies between
    layers, not after the last one.

    Args:
        vocabulary_size: Int.
        architecture: `Architecture`.
        dropouts: `Dropouts`; `output_dropout` is not the encoder's.
        chunk_length: Optional int, see `WeightDropLSTM`.
        has_padding: Bool, whether `xxpad` is padding, at which the states are
            held. Batches that never have any are computed faster without.

    Call arguments:
        token_ids: Int tensor `(batch, timesteps)`.
        initial_states: Optional list of `[hidden, cell]` for each layer.
        training: Bool.
        recurrent_kernels: Optional list, what `dropped_kernels` returned.

    Returns:
        `(hidden_states, states)`: the last layer's raw outputs `(batch,
        timesteps, embedding_units)` and the final states of each layer.
    """

    def __init__(
        self,
        vocabulary_size,
        architecture,
        dropouts=None,
        chunk_length=None,
        has_padding=True,
        **kwargs,
    ):
        kwargs.setdefault("name", "encoder")
        super().__init__(**kwargs)
        if isinstance(architecture, dict):
            architecture = Architecture(**architecture)
        if isinstance(dropouts, dict):
            dropouts = Dropouts(**dropouts)
        dropouts = dropouts or Dropouts()
        self.vocabulary_size = vocabulary_size
        self.architecture = architecture
        self.dropouts = dropouts
        self.chunk_length = chunk_length
        self.has_padding = has_padding
        self.embedding = layers.TokenEmbedding(
            vocabulary_size,
            architecture.embedding_units,
            embedding_dropout=dropouts.embedding_dropout,
            **({} if has_padding else {"padding_id": None}),
            dtype=self.dtype_policy,
            name="embedding",
        )
        self.input_dropout = keras.layers.SpatialDropout1D(
            dropouts.input_dropout, dtype=self.dtype_policy
        )
        self.lstms = []
        self.hidden_dropouts = []
        for index in range(architecture.num_layers):
            is_last = index == architecture.num_layers - 1
            units = (
                architecture.embedding_units
                if is_last
                else architecture.hidden_units
            )
            bound = units**-0.5
            self.lstms.append(
                layers.WeightDropLSTM(
                    units,
                    weight_dropout=dropouts.weight_dropout,
                    chunk_length=chunk_length,
                    # PyTorch's, which AWD-LSTM trained with; biases are 0.
                    kernel_initializer=keras.initializers.RandomUniform(
                        -bound, bound
                    ),
                    recurrent_initializer=keras.initializers.RandomUniform(
                        -bound, bound
                    ),
                    dtype=self.dtype_policy,
                    name=f"lstm_{index + 1}",
                )
            )
            if not is_last:
                self.hidden_dropouts.append(
                    keras.layers.SpatialDropout1D(
                        dropouts.hidden_dropout, dtype=self.dtype_policy
                    )
                )

    def build(self, input_shape=None):
        self.embedding.build((None, None))
        features = self.architecture.embedding_units
        self.input_dropout.build((None, None, features))
        for index, lstm in enumerate(self.lstms):
            lstm.build((None, None, features))
            features = lstm.units
            if index < len(self.hidden_dropouts):
                self.hidden_dropouts[index].build((None, None, features))
        self.built = True

    def call(
        self,
        token_ids,
        initial_states=None,
        training=False,
        recurrent_kernels=None,
    ):
        mask = self.embedding.compute_mask(token_ids)
        hidden = self.embedding(token_ids, training=training)
        hidden = self.input_dropout(hidden, training=training)
        states = []
        for index, lstm in enumerate(self.lstms):
            hidden, *state = lstm(
                hidden,
                initial_state=initial_states and initial_states[index],
                mask=mask,
                training=training,
                recurrent_kernel=recurrent_kernels and recurrent_kernels[index],
            )
            states.append(state)
            if index < len(self.hidden_dropouts):
                dropout = self.hidden_dropouts[index]
                hidden = dropout(hidden, training=training)
        return hidden, states

    def dropped_kernels(self, training):
        """Returns each LSTM's recurrent kernel under one new weight mask.

        For a forward pass of several calls.
        """
        return [lstm.dropped_kernel(training) for lstm in self.lstms]

    @property
    def layer_groups(self):
        """Lists of layers, from the input up: embedding, then each LSTM."""
        return [[self.embedding], *([lstm] for lstm in self.lstms)]

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "architecture": dataclasses.asdict(self.architecture),
            "dropouts": dataclasses.asdict(self.dropouts),
            "chunk_length": self.chunk_length,
            "has_padding": self.has_padding,
        }
