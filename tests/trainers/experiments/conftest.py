"""Experiments whose training takes no time."""

import pytest

from trainers.experiments import cells
from trainers.stages import untrained_classifier
from ulmfit_tf import models, pretrained, text


@pytest.fixture
def fast_stages(monkeypatch):
    """Installs stages that train nothing.

    Call it with a function of recipe and seed that says where they diverge.
    Returns the list of what was trained: pairs of a recipe and a seed.
    """

    def install(diverges=lambda recipe, seed: False):
        trained = []

        def fine_tune(task, recipe, encoder, directory, options, model, _):
            trained.append((recipe, options.seed))
            if diverges(recipe, options.seed):
                raise FloatingPointError("not finite")
            if model is None:
                model = untrained_classifier(task, recipe, options)
            weights = models.get_weights(models.classifier_weights(model))
            return task.words_in_use.widened(weights, encoder or None), []

        monkeypatch.setattr(
            cells, "fine_tune_language_model", lambda *_: ({}, [])
        )
        monkeypatch.setattr(cells, "fine_tune_classifier", fine_tune)
        return trained

    return install


@pytest.fixture(scope="session")
def tiny_language_models(tmp_path_factory):
    """Folder of a forward and a backward language model of one layer."""
    vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, "the", "a", "of"])
    architecture = models.Architecture(8, 8, num_layers=1)
    model = models.LanguageModel(len(vocabulary), architecture, batch_size=1)
    model.build()
    folder = tmp_path_factory.mktemp("pretrained") / "tiny"
    for direction in ("forward", "backward"):
        pretrained.PretrainedLanguageModel(
            architecture,
            direction,
            text.WordTokenizer(vocabulary),
            models.get_weights(models.language_model_weights(model)),
        ).save_to_preset(folder / direction)
    return folder
