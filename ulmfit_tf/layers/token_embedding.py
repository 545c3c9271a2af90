"""Word embedding whose dropout removes whole words."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class TokenEmbedding(keras.layers.Layer):
    """Looks token ids up in a matrix, dropping whole rows while training.

    Embedding dropout (Merity et al., 2017, section 4.3; Gal & Ghahramani,
    2016) draws one mask over the *vocabulary* in each call: a dropped
    word is zero wherever it occurs in the batch, the others are scaled by
    `1 / (1 - embedding_dropout)`. The matrix itself is never changed, so a
    decoder tied to it sees the raw rows.

    Masking: produces a mask, `False` where `token_ids == padding_id`, unless
    that is `None`.

    Args:
        vocabulary_size: Int, number of rows.
        units: Int, width of a row.
        embedding_dropout: Float in `[0, 1)`.
        padding_id: Optional int, the id of padding.

    Call arguments:
        token_ids: Int tensor `(batch, timesteps)`.
        training: Bool, whether rows are dropped.

    Output shape:
        `(batch, timesteps, units)`.
    """

    def __init__(
        self,
        vocabulary_size,
        units,
        embedding_dropout=0.0,
        padding_id=1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.units = units
        self.embedding_dropout = embedding_dropout
        self.padding_id = padding_id
        self.supports_masking = True
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape):
        # U(-0.1, 0.1): Merity et al. (2017), section 5.
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.vocabulary_size, self.units),
            initializer=keras.initializers.RandomUniform(-0.1, 0.1),
        )
        self.built = True

    def call(self, token_ids, training=False):
        token_ids = ops.cast(token_ids, "int32")
        embedded = ops.take(self.embeddings, token_ids, axis=0)
        embedded = ops.cast(embedded, self.compute_dtype)
        if not training or not self.embedding_dropout:
            return embedded
        rows = keras.random.dropout(
            ops.ones((self.vocabulary_size, 1), dtype=self.compute_dtype),
            self.embedding_dropout,
            seed=self.seed_generator,
        )
        return embedded * ops.take(rows, token_ids, axis=0)

    def compute_mask(self, token_ids, mask=None):
        if self.padding_id is None:
            return None
        return ops.not_equal(token_ids, self.padding_id)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "units": self.units,
            "embedding_dropout": self.embedding_dropout,
            "padding_id": self.padding_id,
        }
