"""AR reads the dropped states, TAR the raw ones, along time."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.layers import ActivationRegularization, activation_penalties


def make_states():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(2, 4, 3)).astype("float32")
    return 1.25 * raw * (rng.random((2, 1, 3)) < 0.8), raw


def expected_losses(dropped, raw):
    return (
        (dropped.astype("float64") ** 2).mean(),
        (np.diff(raw.astype("float64"), axis=1) ** 2).mean(),
    )


@pytest.mark.parametrize("weights", [(2.0, 1.0), (0.0, 3.0), (5.0, 0.0)])
def test_losses_of_training(weights):
    dropped, raw = make_states()
    layer = ActivationRegularization(*weights)
    outputs = layer(dropped, raw, training=True)
    np.testing.assert_array_equal(outputs, dropped)
    expected = np.dot(weights, expected_losses(dropped, raw))
    np.testing.assert_allclose(sum(layer.losses), expected, rtol=1e-6)
    assert len(layer.losses) == np.count_nonzero(weights)


def test_nothing_is_added_at_inference():
    layer = ActivationRegularization()
    layer(*make_states(), training=False)
    assert layer.losses == []


def test_low_precision_states_are_summed_in_float32():
    dropped, raw = (tf.cast(part, "bfloat16") for part in make_states())
    layer = ActivationRegularization(dtype="mixed_bfloat16")
    assert layer(dropped, raw, training=True).dtype == "bfloat16"
    assert all(loss.dtype == "float32" for loss in layer.losses)
    exact = expected_losses(
        *(tf.cast(part, "float32").numpy() for part in (dropped, raw))
    )
    np.testing.assert_allclose(
        [float(loss) for loss in layer.losses],
        [2 * exact[0], exact[1]],
        rtol=1e-6,
    )


def test_a_single_timestep_has_no_temporal_loss():
    layer = ActivationRegularization(0.0, 1.0)
    state = np.ones((2, 1, 3), "float32")
    layer(state, state, training=True)
    assert [float(loss) for loss in layer.losses] == [0.0]


def test_padding_is_left_out():
    """Rows with padding at the end, at the start, in between, throughout."""
    dropped, raw = (np.concatenate([part, part + 1]) for part in make_states())
    mask = np.array(
        [[1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0]], bool
    )
    both = mask[:, 1:] & mask[:, :-1]
    penalties = activation_penalties(dropped, raw, mask=mask)

    def mean_of_means(values, chosen):
        means = [v[c].mean() for v, c in zip(values, chosen, strict=True)]
        return np.nan_to_num(means).mean()

    with warnings.catch_warnings():
        # The row of padding has no mean; it counts as 0.
        warnings.simplefilter("ignore")
        expected = [
            2 * mean_of_means(dropped**2, mask),
            mean_of_means(np.diff(raw, axis=1) ** 2, both),
        ]
    np.testing.assert_allclose(penalties, expected, rtol=1e-5)
    # Two replicas with half of the rows each.
    halves = []
    for rows in (slice(0, 2), slice(2, 4)):
        halves.append(
            activation_penalties(dropped[rows], raw[rows], mask=mask[rows])
        )
    np.testing.assert_allclose(np.mean(halves, 0), expected, rtol=1e-5)


def test_nothing_but_padding_has_no_loss():
    dropped, raw = make_states()
    mask = np.zeros((2, 4), bool)
    penalties = activation_penalties(dropped, raw, mask=mask)
    assert [float(penalty) for penalty in penalties] == [0.0, 0.0]
