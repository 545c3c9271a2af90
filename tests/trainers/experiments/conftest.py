"""Experiments whose training takes no time."""

import numpy as np
import pytest

from trainers.experiments import cells
from ulmfit_tf import models, pretrained, text


class _Guessing:
    """Takes the place of a trained classifier, whose graph takes seconds."""

    def __init__(self, task, recipe, weights, seed):
        self._classes = len(task.dataset.classes)
        self._seed = seed

    def predict(self, texts):
        rng = np.random.default_rng(self._seed)
        return rng.dirichlet(np.ones(self._classes), len(texts)).astype(
            "float32"
        )


@pytest.fixture
def fast_stages(monkeypatch):
    """Installs stages that train nothing, and classifiers that guess.

    Call it with a function of recipe and seed that says where they diverge.
    Returns the list of what was trained: pairs of a recipe and a seed.
    """

    def install(diverges=lambda recipe, seed: False):
        trained = []

        def fine_tune(task, recipe, encoder, directory, options, model, _):
            trained.append((recipe, options.seed))
            if diverges(recipe, options.seed):
                raise FloatingPointError("not finite")
            return {}, []

        monkeypatch.setattr(
            cells, "fine_tune_language_model", lambda *_: ({}, [])
        )
        monkeypatch.setattr(cells, "fine_tune_classifier", fine_tune)
        monkeypatch.setattr(cells, "trained_classifier", _Guessing)
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
