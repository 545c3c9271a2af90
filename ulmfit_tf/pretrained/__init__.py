"""Model directories: pretrained language models, trained classifiers."""

from ulmfit_tf.pretrained.classifier_files import TrainedClassifier
from ulmfit_tf.pretrained.curve import CurvePoint
from ulmfit_tf.pretrained.decision import Decision
from ulmfit_tf.pretrained.inference import document_probabilities
from ulmfit_tf.pretrained.language_model_files import (
    PretrainedLanguageModel,
    load_pretrained,
    shipped_models,
)

__all__ = [
    "CurvePoint",
    "Decision",
    "PretrainedLanguageModel",
    "TrainedClassifier",
    "document_probabilities",
    "load_pretrained",
    "shipped_models",
]
