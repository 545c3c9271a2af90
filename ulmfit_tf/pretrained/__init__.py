"""Pretrained language models: their format and the shipped ones."""

from ulmfit_tf.pretrained.language_model_files import (
    PretrainedLanguageModel,
    load_pretrained,
)

__all__ = ["PretrainedLanguageModel", "load_pretrained"]
