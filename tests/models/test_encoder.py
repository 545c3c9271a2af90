"""Where the encoder's dropouts lie, and what it can be made of."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from ulmfit_tf import layers, models

ARCHITECTURE = models.Architecture(4, 6, 3)
VOCABULARY_SIZE = 15


@pytest.fixture
def recorded(monkeypatch):
    """Inputs and outputs of every LSTM that runs, by its name."""
    calls = {}
    original = layers.WeightDropLSTM.call

    @functools.wraps(original)
    def call(self, sequences, *args, **kwargs):
        results = original(self, sequences, *args, **kwargs)
        calls[self.name] = np.array(sequences), np.array(results[0])
        return results

    monkeypatch.setattr(layers.WeightDropLSTM, "call", call)
    return calls


def run(recorded, training=True, **dropouts):
    keras.utils.set_random_seed(3)
    encoder = models.AWDLSTMEncoder(
        VOCABULARY_SIZE, ARCHITECTURE, models.Dropouts(**dropouts)
    )
    encoder.build()
    rng = np.random.default_rng(0)
    for variable in encoder.trainable_variables:
        variable.assign(rng.normal(0, 0.7, variable.shape))
    token_ids = rng.integers(2, VOCABULARY_SIZE, (8, 5))
    hidden, _ = encoder(token_ids, training=training)
    embedded = encoder.embedding.embeddings.numpy()[token_ids]
    # What enters each layer before its dropout, what enters it, what leaves.
    raw_inputs = [embedded] + [recorded[f"lstm_{index}"][1] for index in (1, 2)]
    inputs = [recorded[f"lstm_{index}"][0] for index in (1, 2, 3)]
    return raw_inputs, inputs, recorded["lstm_3"][1], hidden


def assert_variational(dropped, raw, rate):
    """One mask a row for all its timesteps, another one in other rows."""
    factors = dropped / raw
    np.testing.assert_allclose(
        factors, np.repeat(factors[:, :1], 5, 1), rtol=1e-5
    )
    of_row = factors[:, 0]
    np.testing.assert_allclose(
        of_row, np.where(of_row > 0, 1 / (1 - rate), 0), rtol=1e-5
    )
    assert 0.2 < (of_row > 0).mean() < 0.8
    assert len(np.unique(of_row > 0, axis=0)) > 4


def test_input_dropout_is_variational(recorded):
    raw, inputs, last, hidden = run(recorded, input_dropout=0.4)
    assert_variational(inputs[0], raw[0], 0.4)
    for index in (1, 2):
        np.testing.assert_array_equal(inputs[index], raw[index])
    np.testing.assert_array_equal(hidden, last)


def test_hidden_dropout_lies_between_layers_only(recorded):
    raw, inputs, last, hidden = run(
        recorded, hidden_dropout=0.5, output_dropout=0.5
    )
    np.testing.assert_array_equal(inputs[0], raw[0])
    for index in (1, 2):
        assert_variational(inputs[index], raw[index], 0.5)
    np.testing.assert_array_equal(hidden, last)


def test_each_dropout_reaches_its_layers(recorded):
    encoder = models.AWDLSTMEncoder(
        VOCABULARY_SIZE, ARCHITECTURE, models.Dropouts(0.1, 0.2, 0.3, 0.4)
    )
    assert encoder.input_dropout.rate == 0.1
    assert encoder.embedding.embedding_dropout == 0.2
    assert [lstm.weight_dropout for lstm in encoder.lstms] == [0.3] * 3
    assert [dropout.rate for dropout in encoder.hidden_dropouts] == [0.4] * 2


def test_nothing_is_dropped_at_inference(recorded):
    rates = dict.fromkeys(("input_dropout", "hidden_dropout"), 0.5)
    rates |= dict.fromkeys(("embedding_dropout", "weight_dropout"), 0.5)
    *_, plain = run(recorded)
    *_, quiet = run(recorded, training=False, **rates)
    *_, noisy = run(recorded, **rates)
    # Training has another order of its sums.
    np.testing.assert_allclose(quiet, plain, rtol=1e-6, atol=1e-7)
    assert np.abs(noisy - plain).max() > 1e-3


def test_the_last_layer_is_as_wide_as_the_embedding():
    encoder = models.AWDLSTMEncoder(VOCABULARY_SIZE, ARCHITECTURE)
    encoder.build()
    shapes = {
        name: tuple(variable.shape)
        for name, variable in models.encoder_weights(encoder).items()
    }
    assert shapes == {
        "embedding": (15, 4),
        "lstm_1/kernel": (4, 24),
        "lstm_1/recurrent_kernel": (6, 24),
        "lstm_1/bias": (24,),
        "lstm_2/kernel": (6, 24),
        "lstm_2/recurrent_kernel": (6, 24),
        "lstm_2/bias": (24,),
        "lstm_3/kernel": (6, 16),
        "lstm_3/recurrent_kernel": (4, 16),
        "lstm_3/bias": (16,),
    }


def test_weights_are_checked_before_any_is_assigned():
    encoder = models.AWDLSTMEncoder(VOCABULARY_SIZE, ARCHITECTURE)
    encoder.build()
    variables = models.encoder_weights(encoder)
    before = models.get_weights(variables)
    changed = {name: array + 1 for name, array in before.items()}
    misshapen = {**changed, "lstm_3/bias": np.zeros(8)}
    with pytest.raises(ValueError, match=r"`lstm_3/bias` has shape \(8,\)"):
        models.set_weights(variables, misshapen)
    del changed["lstm_2/kernel"]
    with pytest.raises(ValueError, match="lack `lstm_2/kernel`"):
        models.set_weights(variables, changed)
    for name, array in models.get_weights(variables).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_presets_are_those_of_the_reference():
    assert models.ARCHITECTURES["paper"] == models.Architecture(400, 1152, 3)
    assert dataclasses.asdict(models.LANGUAGE_MODEL_DROPOUTS) == {
        "input_dropout": 0.25,
        "embedding_dropout": 0.02,
        "weight_dropout": 0.2,
        "hidden_dropout": 0.15,
        "output_dropout": 0.1,
    }
    assert dataclasses.asdict(models.CLASSIFIER_DROPOUTS) == {
        "input_dropout": 0.4,
        "embedding_dropout": 0.05,
        "weight_dropout": 0.5,
        "hidden_dropout": 0.3,
        "output_dropout": 0.0,
    }
    halved = models.CLASSIFIER_DROPOUTS.scaled(0.5)
    assert dataclasses.astuple(halved) == (0.2, 0.025, 0.25, 0.15, 0.0)


@pytest.mark.parametrize("sizes", [(0, 5), (4, -1), (4, 5, 0), (4.0, 5)])
def test_impossible_architectures_are_refused(sizes):
    with pytest.raises(ValueError, match="positive integer"):
        models.Architecture(*sizes)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="`weight_dropout` must lie in"):
        models.Dropouts(weight_dropout=rate)
