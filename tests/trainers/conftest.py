"""Fixtures of the trainers' tests."""

import pytest

from ulmfit_tf import models, pretrained, text


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """A pretrained model whose sizes no preset has."""
    vocabulary = text.Vocabulary(text.SPECIAL_TOKENS)
    architecture = models.Architecture(8, 40, num_layers=1)
    model = models.LanguageModel(len(vocabulary), architecture, batch_size=1)
    model.build()
    folder = tmp_path_factory.mktemp("pretrained") / "wide"
    pretrained.PretrainedLanguageModel(
        architecture,
        "forward",
        text.WordTokenizer(vocabulary),
        models.get_weights(models.language_model_weights(model)),
    ).save_to_preset(folder)
    return architecture, folder
