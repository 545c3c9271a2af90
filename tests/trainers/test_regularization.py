"""Clipping, weight decay, AR, TAR and dropouts reach stages two and three.

Each training here is a single step at a known rate, without dropout, on a
batch that holds all of the text.
"""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.classifier_stage import new_classifier, train_classifier
from trainers.language_model_recipe import LanguageModelRecipe
from trainers.language_model_stage import train_language_model
from trainers.recipes import Recipe
from trainers.run_options import RunOptions
from ulmfit_tf import models
from ulmfit_tf.data.task_type import TaskType
from ulmfit_tf.data.token_cache import TokenizedCorpus

RATE = 0.01
ONE_STEP = {
    "epochs": 1,
    "learning_rate": RATE,
    "decay_factor": 1.0,
    "ratio": 1.0,
    "weight_decay": 0.0,
    "activation_l2": 0.0,
    "temporal_l2": 0.0,
}
ARCHITECTURE = models.Architecture(6, 8, num_layers=1)
WORDS = 20
OPTIONS = RunOptions("forward", 3, "float32", tf.distribute.get_strategy(), 1e6)


def spread(arrays):
    """Other weights, so large that what depends on them is not tiny."""
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(0, 0.5, array.shape).astype("float32")
        for name, array in arrays.items()
    }


class LanguageModelStage:
    # One stream, in one window.
    text = np.random.default_rng(1).integers(2, WORDS, 61)
    token_ids = text[None, :-1]

    def __init__(self):
        model = models.LanguageModel(WORDS, ARCHITECTURE, 1)
        model.build()
        variables = models.language_model_weights(model)
        self.before = spread(models.get_weights(variables))
        models.set_weights(variables, self.before)
        self.encoder = model.encoder

    def step(self, folder, **changes):
        """Returns the weights after a step, and its loss."""
        weights, (record,) = train_language_model(
            ARCHITECTURE,
            types.SimpleNamespace(vocabulary=range(WORDS)),
            self.before,
            TokenizedCorpus.from_documents([self.text]),
            None,
            LanguageModelRecipe(**(ONE_STEP | changes), dropout_multiplier=0.0),
            folder,
            OPTIONS,
        )
        return weights, record["loss"]


class ClassifierStage:
    # Equally long, so without padding.
    token_ids = np.random.default_rng(1).integers(2, WORDS, (8, 9))
    others = {"dropout": 0.0, "unfreezing": "full", "head_units": 5}

    def __init__(self):
        # The head's weights are the same for a seed.
        model = new_classifier(
            ARCHITECTURE, WORDS, 2, Recipe(**self.others), OPTIONS
        )
        variables = models.encoder_weights(model.encoder)
        self.of_encoder = spread(models.get_weights(variables))
        models.set_weights(variables, self.of_encoder)
        self.before = {
            name: array
            for name, array in models.get_weights(
                models.classifier_weights(model)
            ).items()
            # Batch norm's statistics are no weights.
            if "moving" not in name
        }
        self.encoder = model.encoder

    def step(self, folder, **changes):
        """Returns the weights after a step, and its loss."""
        weights, (record,) = train_classifier(
            ARCHITECTURE,
            WORDS,
            2,
            TaskType.MULTI_CLASS,
            self.of_encoder,
            (TokenizedCorpus.from_documents(self.token_ids), np.arange(8) % 2),
            None,
            Recipe(**(ONE_STEP | changes), **self.others),
            folder,
            OPTIONS,
        )
        return weights, record["loss"]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(LanguageModelStage, id="language_model"),
        pytest.param(ClassifierStage, id="classifier"),
    ],
)
def stage(request):
    return request.param()


@pytest.fixture(scope="module")
def plain(stage, tmp_path_factory):
    return stage.step(tmp_path_factory.mktemp("plain"))


def test_weights_decay_apart_from_their_gradients(stage, plain, tmp_path):
    weights, _ = plain
    decayed, _ = stage.step(tmp_path, weight_decay=0.5)
    for name, before in stage.before.items():
        np.testing.assert_allclose(
            decayed[name] - weights[name],
            -RATE * 0.5 * before,
            atol=1e-6,
            err_msg=name,
        )


def test_the_norm_of_all_gradients_is_clipped(stage, tmp_path):
    """So low that Adam's epsilon counts: its steps then tell the norm."""
    limit = 2e-6
    weights, _ = stage.step(tmp_path, global_clipnorm=limit)
    steps = np.concatenate(
        [
            np.abs(weights[name] - before).ravel()
            for name, before in stage.before.items()
        ]
    )
    steps = steps.astype("float64") / RATE
    # Adam's first step is `g / (|g| + epsilon / sqrt(1 - beta_2))`, with an
    # epsilon of 1e-7 (Keras) and a `beta_2` of 0.99 (Howard & Ruder).
    gradients = 1e-6 * steps / (1 - steps)
    assert np.linalg.norm(gradients) == pytest.approx(limit, rel=0.01)


@pytest.mark.parametrize("field", ["activation_l2", "temporal_l2"])
def test_ar_and_tar_join_the_loss(field, stage, plain, tmp_path):
    _, loss = stage.step(tmp_path, **{field: 30.0})
    hidden, _ = stage.encoder(stage.token_ids)
    hidden = np.asarray(hidden, "float64")
    measured = {
        "activation_l2": hidden,
        "temporal_l2": hidden[:, 1:] - hidden[:, :-1],
    }[field]
    expected = 30.0 * np.mean(measured**2)
    assert expected > 0.01
    assert loss - plain[1] == pytest.approx(expected, rel=1e-4)


def test_the_head_drops_out_as_in_the_authors_scripts():
    recipe = Recipe(dropout=0.5, encoder_dropout=0.0)
    model = new_classifier(ARCHITECTURE, WORDS, 2, recipe, OPTIONS)
    assert [
        layer.rate
        for layer in model.head.layers
        if isinstance(layer, keras.layers.Dropout)
    ] == [0.2, 0.05]
