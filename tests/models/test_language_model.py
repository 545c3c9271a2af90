"""The language model's carried state, loss, perplexity and tied weights."""

import keras
import numpy as np
import tensorflow as tf

from ulmfit_tf import models
from ulmfit_tf.layers.lstm_kernel import lstm_sequence

VOCABULARY_SIZE, BATCH = 12, 3


def make_model(architecture=(4, 5, 2), dropouts=None, **kwargs):
    keras.utils.set_random_seed(5)
    model = models.LanguageModel(
        VOCABULARY_SIZE,
        models.Architecture(*architecture),
        batch_size=BATCH,
        dropouts=dropouts,
        **kwargs,
    )
    model.build()
    # Larger than at the start of training, so that terms stand apart.
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.7, variable.shape))
    return model


def make_ids(timesteps, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(2, VOCABULARY_SIZE, (BATCH, timesteps))


def window(token_ids, stream_start=(False,) * BATCH):
    return {
        "token_ids": tf.constant(token_ids, tf.int32),
        "stream_start": tf.constant(stream_start),
    }


STARTS = (True,) * BATCH


def log_softmax(logits):
    logits = np.float64(logits)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def cross_entropies(logits, targets):
    picked = np.take_along_axis(log_softmax(logits), targets[..., None], -1)
    return -picked[..., 0]


def one_pass(model, token_ids):
    """Logits from zero states and nothing carried."""
    hidden, _ = model.encoder(token_ids)
    return model.decoder(hidden, model.encoder.embedding.embeddings).numpy()


def test_windows_of_a_stream_equal_one_long_pass():
    model, ids = make_model(), make_ids(9)
    parts = [
        model(window(ids[:, :4], STARTS)),
        model(window(ids[:, 4:5])),
        model(window(ids[:, 5:])),
    ]
    np.testing.assert_allclose(
        np.concatenate(parts, 1), one_pass(model, ids), rtol=1e-5, atol=1e-5
    )


def test_only_rows_that_start_anew_forget():
    model, before, after = make_model(), make_ids(4), make_ids(3, seed=1)
    model(window(before, STARTS))
    logits = model(window(after, (False, True, False)))
    continued = one_pass(model, np.concatenate([before, after], 1))[:, 4:]
    fresh = one_pass(model, after)
    assert np.abs(continued - fresh).max(axis=(1, 2)).min() > 0.01
    for row, expected in enumerate([continued, fresh, continued]):
        np.testing.assert_allclose(
            logits[row], expected[row], rtol=1e-5, atol=1e-5
        )


def test_evaluation_leaves_the_training_stream_alone():
    model, ids, other = make_model(), make_ids(7), make_ids(5, seed=2)
    expected, _ = model.encoder(ids)
    model(window(ids[:, :4], STARTS), training=True)
    model(window(other, STARTS))
    hidden = model(window(ids[:, 4:]), training=True)
    np.testing.assert_allclose(hidden, expected[:, 4:], rtol=1e-5, atol=1e-6)
    # And training leaves the stream of evaluation alone.
    logits = model(window(ids))
    both = np.concatenate([other, ids], 1)
    np.testing.assert_allclose(
        logits, one_pass(model, both)[:, 5:], rtol=1e-5, atol=1e-5
    )


def test_training_states_are_carried_without_gradient():
    model, ids = make_model(), make_ids(6)
    model(window(ids[:, :3], STARTS), training=True)
    embeddings = model.encoder.embedding.embeddings.value
    with tf.GradientTape() as tape:
        hidden = model(window(ids[:, 3:]), training=True)
        loss = tf.reduce_sum(hidden**2)
    gradient = tf.convert_to_tensor(tape.gradient(loss, embeddings)).numpy()
    seen = np.isin(np.arange(VOCABULARY_SIZE), ids[:, 3:])
    np.testing.assert_array_equal(np.abs(gradient).max(1) > 0, seen)
    assert not seen.all()


def test_loss_is_cross_entropy_plus_ar_plus_tar():
    model = make_model(activation_l2=3.0, temporal_l2=0.5)
    model.compile(keras.optimizers.SGD(0.0))
    ids = make_ids(7)
    inputs, targets = window(ids[:, :-1], STARTS), ids[:, 1:]
    hidden = np.float64(model.encoder(ids[:, :-1])[0])
    mean = cross_entropies(one_pass(model, ids[:, :-1]), targets).mean()
    activation = (hidden**2).mean()
    temporal = (np.diff(hidden, axis=1) ** 2).mean()
    assert len({round(v, 2) for v in (mean, activation, temporal)}) == 3
    trained = model.train_on_batch(inputs, targets, return_dict=True)
    np.testing.assert_allclose(
        trained["loss"], mean + 3 * activation + 0.5 * temporal, rtol=1e-5
    )
    np.testing.assert_allclose(trained["perplexity"], np.exp(mean), rtol=1e-5)
    tested = model.test_on_batch(inputs, targets, return_dict=True)
    np.testing.assert_allclose(tested["loss"], mean, rtol=1e-5)


def test_ar_reads_the_dropped_output_and_tar_the_raw_one():
    keras.utils.set_random_seed(0)
    model = make_model(dropouts=models.Dropouts(output_dropout=0.5))
    ids = make_ids(6)
    dropped = np.float64(model(window(ids, STARTS), training=True))
    raw = np.float64(model.encoder(ids)[0])
    factors = dropped / raw
    np.testing.assert_allclose(factors, np.where(dropped, 2.0, 0), rtol=1e-4)
    assert 0 < (factors == 0).mean() < 1
    expected = [2 * (dropped**2).mean(), (np.diff(raw, axis=1) ** 2).mean()]
    np.testing.assert_allclose(
        [float(loss) for loss in model.losses], expected, rtol=1e-5
    )


def test_perplexity_weighs_every_token_the_same():
    model = make_model()
    model.compile(keras.optimizers.SGD(0.0))
    ids = make_ids(9)

    def windows():
        while True:
            for start, end in ((0, 6), (6, 8)):
                inputs = window(ids[:, start:end], [start == 0] * BATCH)
                yield inputs, ids[:, start + 1 : end + 1]

    signature = (
        {
            "token_ids": tf.TensorSpec((BATCH, None), tf.int32),
            "stream_start": tf.TensorSpec((BATCH,), tf.bool),
        },
        tf.TensorSpec((BATCH, None), tf.int64),
    )
    dataset = tf.data.Dataset.from_generator(
        windows, output_signature=signature
    )
    losses = cross_entropies(one_pass(model, ids[:, :8]), ids[:, 1:])
    expected = np.exp(losses.mean())
    of_windows = np.exp((losses[:, :6].mean() + losses[:, 6:].mean()) / 2)
    assert abs(of_windows / expected - 1) > 0.01
    history = model.fit(
        dataset,
        steps_per_epoch=2,
        validation_data=dataset,
        validation_steps=2,
        shuffle=False,
        verbose=0,
    ).history
    evaluated = model.evaluate(dataset, steps=2, return_dict=True, verbose=0)
    np.testing.assert_allclose(
        [
            history["perplexity"][0],
            history["val_perplexity"][0],
            evaluated["perplexity"],
        ],
        expected,
        rtol=1e-5,
    )


def test_the_embedding_gets_gradient_from_input_and_output():
    model = make_model(architecture=(4, 5, 1), activation_l2=0, temporal_l2=0)
    ids = make_ids(6)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    embeddings = model.encoder.embedding.embeddings.value
    with tf.GradientTape() as tape:
        hidden = model(window(inputs, STARTS), training=True)
        loss = model.compute_loss(y=targets, y_pred=hidden, training=True)
    actual = tf.convert_to_tensor(tape.gradient(loss, embeddings))
    # The same with a matrix for each use.
    matrices = [tf.constant(embeddings) for _ in range(2)]
    cell, zeros = model.encoder.lstms[0].cell, tf.zeros((BATCH, 4))
    weights = [
        tf.constant(v.value)
        for v in (cell.kernel, cell.recurrent_kernel, cell.bias)
    ]
    with tf.GradientTape() as tape:
        tape.watch(matrices)
        hidden, _, _ = lstm_sequence(
            tf.gather(matrices[0], inputs), zeros, zeros, *weights
        )
        logits = hidden @ tf.transpose(matrices[1]) + model.decoder.bias
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        )
    parts = [
        tf.convert_to_tensor(part) for part in tape.gradient(loss, matrices)
    ]
    assert all(np.abs(part).max() > 1e-3 for part in parts)
    np.testing.assert_allclose(actual, sum(parts), rtol=1e-4, atol=1e-6)


def test_a_sampled_softmax_trains_and_evaluation_uses_all_words():
    model = make_model(sample_size=VOCABULARY_SIZE - 2)
    model.compile(keras.optimizers.SGD(0.0))
    ids = make_ids(6)
    inputs, targets = window(ids[:, :-1], STARTS), ids[:, 1:]
    expected = np.exp(
        cross_entropies(one_pass(model, ids[:, :-1]), targets).mean()
    )
    estimates = [
        model.train_on_batch(inputs, targets, return_dict=True)["perplexity"]
        for _ in range(3)
    ]
    assert np.ptp(estimates) > 0
    tested = model.test_on_batch(inputs, targets, return_dict=True)
    np.testing.assert_allclose(tested["perplexity"], expected, rtol=1e-5)


def test_mixed_precision_keeps_variables_and_logits_in_float32():
    model = make_model(dtype="mixed_bfloat16")
    exact = make_model()
    ids = make_ids(6)
    logits = model(window(ids, STARTS))
    assert logits.dtype == "float32"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    np.testing.assert_allclose(
        logits, exact(window(ids, STARTS)), atol=0.1, rtol=0.05
    )


def test_evaluation_keeps_nothing_as_large_as_the_vocabulary():
    """Neither logits of all positions nor their gradients."""
    words, positions = 5000, 400
    model = models.LanguageModel(words, models.Architecture(4, 5, 2), 1)
    model.build()
    model.compile()
    step = tf.function(lambda inputs, y: model.test_step((inputs, y)))
    graph = step.get_concrete_function(
        {
            "token_ids": tf.TensorSpec((1, positions), tf.int32),
            "stream_start": tf.TensorSpec((1,), tf.int32),
        },
        tf.TensorSpec((1, positions), tf.int32),
    ).graph
    shapes = [
        output.shape.as_list()
        for operation in graph.get_operations()
        for output in operation.outputs
        if output.shape.rank
    ]
    assert [words] in shapes
    # Those of a block of positions are inside of a loop.
    assert not [s for s in shapes if len(s) > 1 and s[-1] == words]


def test_evaluation_gives_the_losses_of_the_logits():
    model = make_model()
    model.compile()
    ids = make_ids(9)
    expected = cross_entropies(one_pass(model, ids[:, :-1]), ids[:, 1:])
    found = model.test_on_batch(
        window(ids[:, :-1], STARTS), ids[:, 1:], return_dict=True
    )
    np.testing.assert_allclose(found["loss"], expected.mean(), rtol=1e-5)
    losses = model.losses_of(window(ids[:, :-1], STARTS), ids[:, 1:])
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    # Called by itself the model still returns logits.
    logits = model(window(ids[:, :-1], STARTS))
    assert logits.shape == (BATCH, 8, VOCABULARY_SIZE)
