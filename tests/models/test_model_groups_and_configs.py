"""Layer groups, and models rebuilt from their configurations."""

import keras
import numpy as np
import pytest

from ulmfit_tf import models

ARCHITECTURE = models.Architecture(4, 5, 2)
DROPOUTS = models.Dropouts(0.1, 0.2, 0.3, 0.4, 0.5)
MODELS = {
    "encoder": lambda: models.AWDLSTMEncoder(
        15, ARCHITECTURE, DROPOUTS, chunk_length=6
    ),
    "language_model": lambda: models.LanguageModel(
        15,
        ARCHITECTURE,
        batch_size=3,
        dropouts=DROPOUTS,
        activation_l2=1.5,
        temporal_l2=0.5,
        sample_size=7,
    ),
    "classifier": lambda: models.TextClassifier(
        15,
        4,
        ARCHITECTURE,
        dropouts=DROPOUTS,
        head_units=6,
        head_dropouts=(0.3, 0.2),
        chunk_length=5,
        pooled_length=15,
    ),
}
NUM_GROUPS = {"encoder": 3, "language_model": 3, "classifier": 4}


@pytest.fixture(params=MODELS)
def kind(request):
    return request.param


def test_groups_hold_every_trainable_variable_once(kind):
    model = MODELS[kind]()
    model.build()
    groups = [
        [v.path for layer in group for v in layer.trainable_variables]
        for group in model.layer_groups
    ]
    assert len(groups) == NUM_GROUPS[kind]
    assert all(groups)
    paths = [path for group in groups for path in group]
    assert sorted(paths) == sorted(v.path for v in model.trainable_variables)
    # From the input up.
    assert groups[0][0].endswith("embedding/embeddings")
    assert "lstm_1" in groups[1][0]
    assert "lstm_2" in groups[2][0]


def test_the_top_group_holds_what_is_above_the_encoder():
    model = MODELS["language_model"]()
    assert model.layer_groups[-1][-1] is model.decoder
    model = MODELS["classifier"]()
    assert model.layer_groups[-1] == [model.head]


def test_configuration_round_trip(kind):
    model = MODELS[kind]()
    name = keras.saving.get_registered_name(type(model))
    assert name == f"ulmfit_tf>{type(model).__name__}"
    config = keras.saving.serialize_keras_object(model)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(model)
    assert copy.get_config() == model.get_config()
    assert copy.architecture == ARCHITECTURE
    assert copy.dropouts == DROPOUTS
    # The layers have them.
    encoder = getattr(copy, "encoder", copy)
    assert {lstm.weight_dropout for lstm in encoder.lstms} == {
        DROPOUTS.weight_dropout
    }
    assert encoder.input_dropout.rate == DROPOUTS.input_dropout
    shapes = []
    for each in (model, copy):
        each.build()
        shapes.append([tuple(v.shape) for v in each.variables])
    assert shapes[0] == shapes[1]


def test_a_pair_is_saved_and_loaded_whole(tmp_path):
    pair = models.BidirectionalPair(
        {d: MODELS["classifier"]() for d in ("forward", "backward")},
        activation="sigmoid",
    )
    pair.build()
    ids = {"forward": [[2, 5, 9, 4, 7]], "backward": [[2, 7, 4, 9, 5]]}
    ids = {d: np.array(rows) for d, rows in ids.items()}
    expected = pair(ids)
    pair.save(tmp_path / "pair.keras")
    loaded = keras.models.load_model(tmp_path / "pair.keras")
    assert type(loaded) is models.BidirectionalPair
    assert loaded.get_config() == pair.get_config()
    np.testing.assert_array_equal(loaded(ids), expected)
