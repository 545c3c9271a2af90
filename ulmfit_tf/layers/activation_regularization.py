"""Activation and temporal activation regularization (AR, TAR)."""

import keras
from keras import ops


def activation_penalties(
    dropped, raw, activation_l2=2.0, temporal_l2=1.0, mask=None
):
    """Returns AR and TAR, float32 scalars, those whose weight is not 0.

    AR is `activation_l2 * mean(h^2)` on the *dropped* last output, TAR is
    `temporal_l2 * mean((h_t - h_{t-1})^2)` on the *raw* one, along time
    (Merity et al., 2017, section 4.6; coefficients 2 and 1 from the authors'
    `awd-lstm-lm`). Both are computed in float32.

    Args:
        dropped: Float tensor `(batch, timesteps, units)`.
        raw: Float tensor of the same shape.
        activation_l2: Float, weight of AR.
        temporal_l2: Float, weight of TAR.
        mask: Optional bool tensor `(batch, timesteps)`, `True` where valid.
            Both means are over what is valid of a row, the second over
            pairs of neighbours that both are, and then over rows: so parts
            of a batch of as many rows each have the same mean as the whole.
    """
    batch, timesteps, units = ops.shape(raw)
    if mask is None:
        valid = ops.ones((batch, timesteps), "float32")
    else:
        valid = ops.cast(mask, "float32")
    penalties = []
    if activation_l2:
        hidden = ops.cast(dropped, "float32")
        penalties.append(activation_l2 * _mean_square(hidden, valid, units))
    if temporal_l2:
        hidden = ops.cast(raw, "float32")
        # Rolled, not sliced: a slice's gradient is slow on TensorFlow CPU.
        steps = hidden - ops.roll(hidden, 1, axis=1)
        has_previous = ops.cast(ops.arange(timesteps) > 0, "float32")
        has_previous *= valid * ops.roll(valid, 1, axis=1)
        penalties.append(temporal_l2 * _mean_square(steps, has_previous, units))
    return penalties


def _mean_square(values, weights, units):
    """Mean over rows of the mean over the positions that `weights` has."""
    totals = ops.sum(ops.square(values) * weights[:, :, None], axis=(1, 2))
    counts = ops.sum(weights, axis=1) * ops.cast(units, "float32")
    # A window of one token has no step: its sum is 0, not 0 / 0.
    return ops.mean(totals / ops.maximum(counts, 1.0))


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class ActivationRegularization(keras.layers.Layer):
    """Adds AR and TAR to the model's losses and returns the dropped states.

    See `activation_penalties`. Nothing is added but while training.

    Args:
        activation_l2: Float, weight of AR.
        temporal_l2: Float, weight of TAR.

    Call arguments:
        dropped: Float tensor `(batch, timesteps, units)`.
        raw: Float tensor of the same shape.
        training: Bool.

    Output shape:
        That of `dropped`.
    """

    def __init__(self, activation_l2=2.0, temporal_l2=1.0, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.activation_l2 = activation_l2
        self.temporal_l2 = temporal_l2

    def call(self, dropped, raw, training=False):
        if training:
            for penalty in activation_penalties(
                dropped, raw, self.activation_l2, self.temporal_l2
            ):
                self.add_loss(penalty)
        return dropped

    def compute_output_shape(self, dropped_shape, raw_shape=None):
        return dropped_shape

    def get_config(self):
        return {
            **super().get_config(),
            "activation_l2": self.activation_l2,
            "temporal_l2": self.temporal_l2,
        }
