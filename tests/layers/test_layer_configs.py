"""Every layer can be rebuilt from its configuration and from a file."""

import keras
import numpy as np
import pytest

from ulmfit_tf import layers

CONFIGURED = [
    layers.ActivationRegularization(1.5, 0.5, name="regularization"),
    layers.ConcatPooling(dtype="float32", name="pooling"),
    layers.SampledSoftmax(7, name="sampled"),
    layers.TiedDecoder(19, name="decoder"),
    layers.TokenEmbedding(
        11, 3, embedding_dropout=0.2, padding_id=4, name="embedding"
    ),
    layers.WeightDropLSTM(
        5,
        weight_dropout=0.3,
        chunk_length=6,
        use_cpu_kernel=False,
        kernel_initializer=keras.initializers.RandomUniform(-0.2, 0.2),
        dtype="mixed_bfloat16",
        name="lstm",
    ),
]


def test_every_layer_is_listed():
    # By capital letters: the others are functions.
    listed = [name for name in layers.__all__ if name[0].isupper()]
    assert sorted(type(layer).__name__ for layer in CONFIGURED) == listed


@pytest.mark.parametrize("layer", CONFIGURED, ids=lambda layer: layer.name)
def test_configuration_round_trip(layer):
    name = keras.saving.get_registered_name(type(layer))
    assert name == f"ulmfit_tf>{type(layer).__name__}"
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


def test_a_saved_model_gives_the_same_answers(tmp_path):
    token_ids = keras.Input((None,), dtype="int32")
    embedded = layers.TokenEmbedding(11, 3, embedding_dropout=0.2)(token_ids)
    hidden, _, _ = layers.WeightDropLSTM(4, weight_dropout=0.3)(embedded)
    model = keras.Model(token_ids, layers.ConcatPooling()(hidden))
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    documents = np.array([[2, 5, 7, 9], [2, 3, 1, 1]])
    expected = model(documents)
    np.testing.assert_array_equal(loaded(documents), expected)
    # The mask found its way through the layers.
    np.testing.assert_allclose(
        model(documents[1:, :2]), expected[1:], rtol=1e-5, atol=1e-7
    )
    assert loaded.layers[2].weight_dropout == 0.3
