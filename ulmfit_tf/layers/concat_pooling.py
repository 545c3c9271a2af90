"""Fixed-size document summary of a variable-length hidden-state sequence."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class ConcatPooling(keras.layers.Layer):
    """Concatenates the last, max-pooled and mean-pooled hidden states.

    Computes `[h_T, maxpool(H), meanpool(H)]` (Howard & Ruder, 2018,
    section 3.3), where `T` is the last valid timestep of each document.
    Padded timesteps never reach the output, wherever the padding lies.

    Masking: consumes the mask and does not propagate it.

    Call arguments:
        inputs: Float tensor `(batch, timesteps, units)`, the hidden states.
        mask: Optional bool tensor `(batch, timesteps)`, `True` where valid.
            Each document needs at least one valid timestep.

    Output shape:
        `(batch, 3 * units)`, in the layer's compute dtype.

    Raises:
        ValueError: If `inputs` is not rank 3.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) != 3:
            raise ValueError(
                "`ConcatPooling` expects hidden states of shape "
                "`(batch, timesteps, units)`. "
                f"Received: input_shape={tuple(input_shape)}. "
                "If this is a final state, build the encoder with "
                "`return_sequences=True`."
            )
        self.built = True

    def call(self, inputs, mask=None):
        inputs = ops.cast(inputs, self.compute_dtype)
        if mask is None:
            last = inputs[:, -1]
            maximum = ops.max(inputs, axis=1)
            return ops.concatenate(
                [last, maximum, ops.mean(inputs, axis=1)], axis=-1
            )
        weights = ops.cast(mask, inputs.dtype)[:, :, None]
        positions = ops.cast(ops.arange(ops.shape(mask)[1]), "int32")
        last_position = ops.max(ops.where(mask, positions[None, :], 0), axis=1)
        last = ops.take_along_axis(
            inputs, last_position[:, None, None], axis=1
        )[:, 0]
        # Below any state; float16 makes -inf of it, which is as good.
        lowest = ops.cast(-1e30, inputs.dtype)
        maximum = ops.max(ops.where(mask[:, :, None], inputs, lowest), axis=1)
        # `where`, not a product: a padded state may be NaN.
        valid = ops.where(mask[:, :, None], inputs, 0.0)
        mean = ops.sum(valid, axis=1) / ops.maximum(ops.sum(weights, 1), 1.0)
        return ops.concatenate([last, maximum, mean], axis=-1)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 3 * input_shape[2])
