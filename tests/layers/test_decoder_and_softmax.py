"""The tied decoder, and the estimate of the softmax from a sample."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.layers import SampledSoftmax, TiedDecoder

VOCABULARY_SIZE, UNITS = 30, 4


def make_arrays(scale=0.8):
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, scale, (2, 2, UNITS))
    embeddings = rng.normal(0, scale, (VOCABULARY_SIZE, UNITS))
    bias = rng.normal(0, 0.5, VOCABULARY_SIZE)
    # The target of one position is common and likely, so that a sample that
    # counts it twice is far off.
    hidden[0, 0] = 2 * embeddings[1]
    targets = np.array([[1, 6], [0, 29]])
    arrays = [hidden, embeddings, bias]
    return [tf.constant(a, tf.float32) for a in arrays] + [
        tf.constant(targets, tf.int32)
    ]


def exact_logits(hidden, embeddings, bias):
    hidden, embeddings = np.float64(hidden), np.float64(embeddings)
    return hidden @ embeddings.T + np.float64(bias)


def exact_losses(logits, targets):
    likely = np.take_along_axis(logits, np.array(targets)[..., None], -1)
    return np.log(np.exp(logits).sum(-1)) - likely[..., 0]


def test_decoder_multiplies_with_the_embeddings():
    hidden, embeddings, bias, _ = make_arrays()
    decoder = TiedDecoder(VOCABULARY_SIZE)
    logits = decoder(hidden, embeddings)
    np.testing.assert_allclose(
        logits, exact_logits(hidden, embeddings, 0 * bias), rtol=1e-5
    )
    decoder.bias.assign(bias)
    np.testing.assert_allclose(
        decoder(hidden, embeddings),
        exact_logits(hidden, embeddings, bias),
        rtol=1e-5,
        atol=1e-6,
    )
    assert len(decoder.weights) == 1


def test_logits_are_float32_under_mixed_precision():
    hidden, embeddings, bias, _ = make_arrays()
    decoder = TiedDecoder(VOCABULARY_SIZE, dtype="mixed_bfloat16")
    logits = decoder(hidden, embeddings)
    assert logits.dtype == "float32"
    np.testing.assert_allclose(
        logits, exact_logits(hidden, embeddings, 0 * bias), atol=0.1
    )


def test_the_sampled_normalizer_is_unbiased():
    keras.utils.set_random_seed(0)
    hidden, embeddings, bias, targets = make_arrays()
    layer = SampledSoftmax(8)
    logits = exact_logits(hidden, embeddings, bias)
    of_target = np.take_along_axis(logits, targets.numpy()[..., None], -1)
    draws = 3000

    @tf.function
    def estimate():
        losses = tf.TensorArray(tf.float32, draws)
        for index in tf.range(draws):
            losses = losses.write(
                index, layer(hidden, targets, embeddings, bias)
            )
        return losses.stack()

    normalizers = np.exp(estimate().numpy() + of_target[..., 0])
    true = np.exp(logits).sum(-1)
    error = normalizers.std(0) / np.sqrt(draws)
    assert (error < 0.02 * true).all()
    assert (np.abs(normalizers.mean(0) - true) < 3 * error).all()
    # The sample really is one: single estimates scatter.
    assert (normalizers.std(0) > 0.02 * true).all()


def test_a_sample_of_all_but_one_word_is_nearly_the_full_loss():
    keras.utils.set_random_seed(1)
    hidden, embeddings, bias, targets = make_arrays()
    layer = SampledSoftmax(VOCABULARY_SIZE - 1)
    estimates = np.mean(
        [layer(hidden, targets, embeddings, bias) for _ in range(10)], 0
    )
    expected = exact_losses(exact_logits(hidden, embeddings, bias), targets)
    np.testing.assert_allclose(estimates, expected, atol=0.05)


def test_a_sampled_target_is_left_out():
    """Only the target is likely: its loss is 0 however often it is drawn."""
    hidden = tf.ones((1, 1, 1))
    embeddings = tf.constant([[20.0]] + [[-20.0]] * 9)
    layer = SampledSoftmax(9)
    for _ in range(5):
        loss = layer(
            hidden, tf.zeros((1, 1), tf.int32), embeddings, tf.zeros(10)
        )
        np.testing.assert_allclose(loss, [[0.0]], atol=1e-6)


def test_gradients_are_finite_for_extreme_logits():
    hidden, embeddings, bias, targets = make_arrays(scale=20.0)
    layer = SampledSoftmax(8)
    sources = [hidden, embeddings, bias]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        loss = tf.reduce_sum(layer(hidden, targets, embeddings, bias))
    for gradient in tape.gradient(loss, sources):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()
    assert loss > 0


def test_losses_are_float32_under_mixed_precision():
    hidden, embeddings, bias, targets = make_arrays()
    layer = SampledSoftmax(8, dtype="mixed_bfloat16")
    losses = layer(hidden, targets, embeddings, bias)
    assert losses.dtype == "float32"
    assert losses.shape == (2, 2)


def test_the_bias_is_not_rounded_under_mixed_precision():
    hidden, embeddings, bias, targets = make_arrays()
    losses = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        layer = SampledSoftmax(8, dtype=policy)
        # Without a state the logits are the bias alone.
        losses.append(layer(0 * hidden, targets, embeddings, bias - 10.3))
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("sample_size", [VOCABULARY_SIZE, 99])
def test_a_sample_as_large_as_the_vocabulary_is_refused(sample_size):
    hidden, embeddings, bias, targets = make_arrays()
    layer = SampledSoftmax(sample_size)
    with pytest.raises(ValueError, match="Use the full softmax"):
        layer(hidden, targets, embeddings, bias)


@pytest.mark.parametrize("positions", [1, 5, 12, 13])
def test_the_full_softmax_in_blocks_is_the_whole_one(positions, monkeypatch):
    from ulmfit_tf.layers import softmax_loss

    monkeypatch.setattr(softmax_loss, "_BLOCK", 4)
    rng = np.random.default_rng(0)
    shapes = [(1, positions, UNITS), (VOCABULARY_SIZE, UNITS)]
    hidden, embeddings = (
        tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes
    )
    targets = tf.constant(rng.integers(VOCABULARY_SIZE, size=(1, positions)))
    weights = tf.constant(rng.normal(size=(1, positions)), tf.float32)
    decoder = TiedDecoder(VOCABULARY_SIZE)
    decoder.build(hidden.shape)
    decoder.bias.assign(rng.normal(size=VOCABULARY_SIZE))
    sources = [hidden, embeddings, decoder.bias.value]

    def results(losses):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            values = losses()
            total = tf.reduce_sum(weights * values)
        return [values, *tape.gradient(total, sources)]

    actual = results(lambda: decoder.losses_of(hidden, targets, embeddings))
    expected = results(
        lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(
            targets, decoder(hidden, embeddings)
        )
    )
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
