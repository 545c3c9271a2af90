"""One optimizer a group, one clip over all, frozen groups left alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf.training import (
    DiscriminativeOptimizer,
    SlantedTriangular,
    discriminative_rates,
)

RATES = discriminative_rates(0.01, 3)


def make_model():
    """Three groups; the weights differ in scale so that nothing hides."""
    keras.utils.set_random_seed(2)
    layers = [
        keras.layers.Embedding(9, 3, name="bottom"),
        keras.layers.Dense(4, name="middle"),
        keras.layers.Dense(2, name="top"),
    ]
    inputs = keras.Input((2,), dtype="int32")
    hidden = layers[1](layers[0](inputs))
    model = keras.Model(inputs, layers[2](hidden[:, 0]))
    return model, [[layer] for layer in layers]


def make_optimizer(model, groups, kind=keras.optimizers.Adam, **kwargs):
    clip = kwargs.pop("global_clipnorm", None)
    optimizers = [kind(rate, **kwargs) for rate in RATES]
    return DiscriminativeOptimizer(
        model, groups, optimizers, global_clipnorm=clip
    )


def values(model):
    return [v.numpy() for v in model.trainable_variables]


def make_gradients(model, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return [
        tf.constant(
            rng.uniform(0.5, 2, v.shape).astype("float32") * scale * 10.0**index
        )
        for index, v in enumerate(model.trainable_variables)
    ]


def test_adam_moves_each_group_by_its_own_rate():
    """Adam's first step is the rate itself, whatever the gradient's size."""
    model, groups = make_model()
    optimizer = make_optimizer(model, groups)
    before = values(model)
    optimizer.apply(make_gradients(model), model.trainable_variables)
    changes = [b - a for b, a in zip(before, values(model), strict=True)]
    # Embedding; kernel and bias; kernel and bias.
    of_variable = [RATES[0], RATES[1], RATES[1], RATES[2], RATES[2]]
    for change, rate in zip(changes, of_variable, strict=True):
        np.testing.assert_allclose(change, rate, rtol=1e-3)
    np.testing.assert_allclose(
        [c.mean() / changes[-1].mean() for c in changes[:3]],
        [2.6**-2, 2.6**-1, 2.6**-1],
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    "scale", [pytest.param(1.0, id="above"), pytest.param(1e-7, id="below")]
)
def test_the_norm_over_all_variables_is_clipped(scale):
    model, groups = make_model()
    limit = 0.3
    optimizer = make_optimizer(
        model, groups, keras.optimizers.SGD, global_clipnorm=limit
    )
    before = values(model)
    gradients = make_gradients(model, scale=scale)
    optimizer.apply(gradients, model.trainable_variables)
    norm = np.sqrt(sum((np.float64(g) ** 2).sum() for g in gradients))
    assert (norm > limit) == (scale == 1.0)
    factor = min(1.0, limit / norm)
    of_variable = [RATES[0], RATES[1], RATES[1], RATES[2], RATES[2]]
    for old, new, gradient, rate in zip(
        before, values(model), gradients, of_variable, strict=True
    ):
        np.testing.assert_allclose(
            new, old - rate * factor * gradient, rtol=1e-5, atol=1e-9
        )


def test_sparse_gradients_are_clipped_with_the_others():
    model, groups = make_model()
    optimizer = make_optimizer(
        model, groups, keras.optimizers.SGD, global_clipnorm=0.3
    )
    before = values(model)
    gradients = [tf.zeros_like(v) for v in before]
    # Word 4 occurs twice: its gradients add up before the norm is taken.
    gradients[0] = tf.IndexedSlices(
        tf.constant([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 4.0]]),
        tf.constant([4, 4, 7]),
        tf.constant([9, 3]),
    )
    optimizer.apply(gradients, model.trainable_variables)
    expected = before[0].copy()
    expected[4] -= RATES[0] * 0.3 / 5 * np.array([3.0, 0.0, 0.0])
    expected[7] -= RATES[0] * 0.3 / 5 * np.array([0.0, 0.0, 4.0])
    np.testing.assert_allclose(values(model)[0], expected, atol=1e-8)


def test_weight_decay_is_decoupled():
    model, groups = make_model()
    optimizer = make_optimizer(model, groups, weight_decay=0.1)
    before = values(model)
    zeros = [tf.zeros_like(v) for v in before]
    optimizer.apply(zeros, model.trainable_variables)
    of_variable = [RATES[0], RATES[1], RATES[1], RATES[2], RATES[2]]
    for old, new, rate in zip(before, values(model), of_variable, strict=True):
        np.testing.assert_allclose(new, old * (1 - 0.1 * rate), rtol=1e-6)


def test_a_variable_in_no_group_is_named():
    model, groups = make_model()
    with pytest.raises(ValueError, match="Missing: middle/kernel, middle/b"):
        make_optimizer(model, [groups[0], [], groups[2]])


def test_a_variable_in_two_groups_is_named():
    model, groups = make_model()
    groups[1] = [*groups[1], *groups[2]]
    with pytest.raises(ValueError, match="`top/kernel` is in several"):
        make_optimizer(model, groups)


def test_each_group_needs_an_optimizer():
    model, groups = make_model()
    with pytest.raises(ValueError, match="4 groups, 3 optimizers"):
        make_optimizer(model, [*groups, []])


def test_frozen_groups_start_when_they_are_thawed():
    """As if the optimizer of each group were made when it is thawed."""
    model, groups = make_model()
    optimizers = [
        keras.optimizers.Adam(SlantedTriangular(rate, 5, 0.4), beta_1=0.7)
        for rate in RATES
    ]
    optimizer = DiscriminativeOptimizer(model, groups, optimizers)
    before = values(model)
    top, middle = groups[2][0], groups[1][0]
    gradients = make_gradients(model)
    for step in range(3):
        optimizer.apply(
            make_gradients(model, step)[3:], top.trainable_variables
        )
    assert [int(o.iterations) for o in optimizer.optimizers] == [0, 0, 3]
    assert int(optimizer.iterations) == 3
    for old, new in zip(before[:3], values(model), strict=False):
        np.testing.assert_array_equal(new, old)
    for each in optimizers[:2]:
        for variable in each.variables[2:]:
            assert not np.any(variable)
    thawed = [*middle.trainable_variables, *top.trainable_variables]
    optimizer.apply(gradients[1:], thawed)
    assert [int(o.iterations) for o in optimizer.optimizers] == [0, 1, 4]
    np.testing.assert_array_equal(values(model)[0], before[0])
    # The middle group's first step, at the first rate of its schedule.
    np.testing.assert_allclose(
        before[1] - values(model)[1], RATES[1] / 32, rtol=1e-2
    )


def test_no_gradient_is_as_good_as_frozen():
    model, groups = make_model()
    optimizer = make_optimizer(model, groups)
    before = values(model)
    gradients = make_gradients(model)
    optimizer.apply([None, *gradients[1:]], model.trainable_variables)
    np.testing.assert_array_equal(values(model)[0], before[0])
    assert [int(o.iterations) for o in optimizer.optimizers] == [0, 1, 1]


def test_fit_equals_group_by_group_arithmetic():
    """Plain SGD in `fit`: the same as gradients times rates by hand."""
    model, groups = make_model()
    x = np.array([[1, 2], [3, 1], [5, 0], [8, 8]])
    y = np.random.default_rng(1).normal(size=(4, 2)).astype("float32")
    start = values(model)
    of_variable = [RATES[0], RATES[1], RATES[1], RATES[2], RATES[2]]
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        sources = [v.value for v in model.trainable_variables]
        gradients = [
            tf.convert_to_tensor(g) for g in tape.gradient(loss, sources)
        ]
        norm = tf.linalg.global_norm(gradients)
        assert norm > 0.2
        for variable, gradient, rate in zip(
            sources, gradients, of_variable, strict=True
        ):
            variable.assign_sub(rate * gradient * 0.2 / norm)
    expected = values(model)
    for variable, value in zip(model.trainable_variables, start, strict=True):
        variable.assign(value)
    model.compile(
        make_optimizer(
            model, groups, keras.optimizers.SGD, global_clipnorm=0.2
        ),
        "mse",
    )
    model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 3
    for one, other, old in zip(values(model), expected, start, strict=True):
        np.testing.assert_allclose(one - old, other - old, rtol=1e-3, atol=1e-7)


def test_a_model_can_be_saved_as_the_error_says(tmp_path):
    model, groups = make_model()
    model.compile(make_optimizer(model, groups), "mse")
    x = np.array([[1, 2], [8, 0]])
    weights, whole = tmp_path / "model.weights.h5", tmp_path / "model.keras"
    model.fit(
        x,
        np.ones((2, 2)),
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(weights, save_weights_only=True)
        ],
    )
    with pytest.raises(
        NotImplementedError,
        match=r"save_weights\(.*save_weights_only=True.*another optimizer",
    ):
        model.save(whole)
    fresh, _ = make_model()
    assert not np.allclose(fresh(x), model(x))
    fresh.load_weights(weights)
    np.testing.assert_array_equal(fresh(x), model(x))
    model.compile("adam", "mse")
    model.save(whole)
    loaded = keras.models.load_model(whole)
    np.testing.assert_array_equal(loaded(x), model(x))
