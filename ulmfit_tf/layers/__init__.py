"""Keras layers of the AWD-LSTM and of the classifier's head."""

from ulmfit_tf.layers.activation_regularization import (
    ActivationRegularization,
    activation_penalties,
)
from ulmfit_tf.layers.concat_pooling import ConcatPooling
from ulmfit_tf.layers.tied_decoder import SampledSoftmax, TiedDecoder
from ulmfit_tf.layers.token_embedding import TokenEmbedding
from ulmfit_tf.layers.weight_drop_lstm import WeightDropLSTM

__all__ = [
    "ActivationRegularization",
    "ConcatPooling",
    "SampledSoftmax",
    "TiedDecoder",
    "TokenEmbedding",
    "WeightDropLSTM",
    "activation_penalties",
]
