"""AWD-LSTM language model and text classifier."""

from ulmfit_tf.models.bidirectional import BidirectionalPair
from ulmfit_tf.models.classifier import TextClassifier
from ulmfit_tf.models.encoder import AWDLSTMEncoder
from ulmfit_tf.models.generation import SEARCHES, generate, generate_text
from ulmfit_tf.models.language_model import LanguageModel
from ulmfit_tf.models.perplexity import Perplexity
from ulmfit_tf.models.presets import (
    ARCHITECTURES,
    CLASSIFIER_DROPOUTS,
    LANGUAGE_MODEL_DROPOUTS,
    Architecture,
    Dropouts,
)
from ulmfit_tf.models.weights import (
    classifier_weights,
    encoder_weights,
    get_weights,
    language_model_weights,
    set_weights,
)

__all__ = [
    "ARCHITECTURES",
    "CLASSIFIER_DROPOUTS",
    "LANGUAGE_MODEL_DROPOUTS",
    "SEARCHES",
    "AWDLSTMEncoder",
    "Architecture",
    "BidirectionalPair",
    "Dropouts",
    "LanguageModel",
    "Perplexity",
    "TextClassifier",
    "classifier_weights",
    "encoder_weights",
    "generate",
    "generate_text",
    "get_weights",
    "language_model_weights",
    "set_weights",
]
