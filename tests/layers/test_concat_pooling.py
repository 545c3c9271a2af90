"""Padding never reaches the summary of a document."""

import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.layers import ConcatPooling


@pytest.mark.parametrize(
    "steps, mask",
    [
        pytest.param([-1, -3], [1, 1], id="unpadded"),
        pytest.param([-1, -3, 9], [1, 1, 0], id="right_padded"),
        pytest.param([9, -1, -3], [0, 1, 1], id="left_padded"),
        pytest.param([-1, 9, -3], [1, 0, 1], id="padded_between"),
        pytest.param([np.nan, -1, -3, np.nan], [0, 1, 1, 0], id="nan"),
    ],
)
def test_padding_never_reaches_the_summary(steps, mask):
    hidden = np.array(steps, "float32")[None, :, None]
    summary = ConcatPooling()(hidden, mask=np.array([mask], "bool"))
    # One document, padded in several ways: last -3, max -1, mean -2.
    np.testing.assert_allclose(summary, [[-3.0, -1.0, -2.0]])


def test_units_stay_apart_and_no_mask_means_all_valid():
    hidden = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    expected = np.concatenate(
        [hidden[:, -1], hidden.max(1), hidden.mean(1)], axis=1
    )
    np.testing.assert_allclose(ConcatPooling()(hidden), expected, rtol=1e-6)
    everywhere = np.ones((2, 4), "bool")
    np.testing.assert_allclose(
        ConcatPooling()(hidden, mask=everywhere), expected, rtol=1e-6
    )


def test_padding_gets_no_gradient():
    hidden = tf.constant([[[2.0], [5.0], [9.0]]])
    with tf.GradientTape() as tape:
        tape.watch(hidden)
        summary = ConcatPooling()(
            hidden, mask=tf.constant([[True, True, False]])
        )
        loss = tf.reduce_sum(summary * [[1.0, 10.0, 100.0]])
    # The last step gets 1 (last) + 10 (max) + 50 (mean); the first the mean.
    gradient = tape.gradient(loss, hidden)
    np.testing.assert_allclose(gradient[0, :, 0], [50.0, 61.0, 0.0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_that_of_the_layer(dtype):
    hidden = tf.cast([[[-1.0], [-3.0], [9.0]]], dtype)
    summary = ConcatPooling(dtype=dtype)(
        hidden, mask=tf.constant([[True, True, False]])
    )
    assert summary.dtype == dtype
    np.testing.assert_array_equal(
        tf.cast(summary, "float32"), [[-3.0, -1.0, -2.0]]
    )


def test_the_mask_ends_here():
    layer = ConcatPooling()
    assert layer.compute_mask(None, mask=np.ones((1, 2), "bool")) is None
    assert layer.compute_output_shape((5, None, 4)) == (5, 12)


def test_final_states_are_refused():
    with pytest.raises(ValueError, match="return_sequences=True"):
        ConcatPooling()(np.zeros((2, 3), "float32"))
