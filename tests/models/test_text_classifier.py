"""A document's logits depend on the document alone; BPT3C's gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf import models
from ulmfit_tf.data.chunks import chunk_documents
from ulmfit_tf.layers import WeightDropLSTM

VOCABULARY_SIZE, CLASSES, CHUNK, POOLED = 20, 3, 4, 8
# Shorter than a chunk, whole chunks, longer than what is pooled.
LENGTHS = (1, 3, 4, 7, 8, 13, 22)


def make_model(**kwargs):
    keras.utils.set_random_seed(5)
    model = models.TextClassifier(
        VOCABULARY_SIZE,
        CLASSES,
        models.Architecture(4, 5, 2),
        head_units=6,
        head_dropouts=(0.0, 0.0),
        chunk_length=CHUNK,
        pooled_length=POOLED,
        **kwargs,
    )
    model.build()
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0.1, 0.7, variable.shape))
    for layer in model.head.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(size=layer.moving_mean.shape))
            layer.moving_variance.assign(
                rng.uniform(0.5, 2, layer.moving_variance.shape)
            )
    return model


def make_documents(lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(2, VOCABULARY_SIZE, length) for length in lengths]


def laid_out(documents):
    ragged = tf.ragged.constant(
        [list(map(int, d)) for d in documents], dtype=tf.int32
    )
    return chunk_documents(ragged, CHUNK)


def numpy_head(model, summary):
    """The head at inference, from its variables."""
    v = {
        name: np.float64(variable)
        for name, variable in models.classifier_weights(model).items()
    }

    def norm(x, name):
        x = (x - v[f"{name}/moving_mean"]) / np.sqrt(
            v[f"{name}/moving_variance"] + 1e-5
        )
        return x * v[f"{name}/gamma"] + v[f"{name}/beta"]

    def linear(x, name):
        return x @ v[f"{name}/kernel"] + v[f"{name}/bias"]

    hidden = linear(norm(summary, "head_norm_1"), "head_hidden")
    hidden = norm(np.maximum(hidden, 0), "head_norm_2")
    return linear(hidden, "head_logits")


def oracle(model, document):
    """One long pass over the bare document, the last states pooled."""
    hidden = np.float64(model.encoder(document[None])[0][0])[-POOLED:]
    summary = np.concatenate([hidden[-1], hidden.max(0), hidden.mean(0)])
    return numpy_head(model, summary[None])[0]


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def expected(model):
    return np.stack([oracle(model, d) for d in make_documents()])


def test_logits_equal_one_long_pass_alone_and_in_a_batch(model, expected):
    documents = make_documents()
    assert np.abs(expected[:, None] - expected).max(2).max() > 0.1
    np.testing.assert_allclose(
        model(laid_out(documents)), expected, rtol=1e-5, atol=1e-5
    )
    # A graph that knows no shape takes another way through the prefix.
    call = tf.function(
        model, input_signature=[tf.TensorSpec((None, None), tf.int32)]
    )
    np.testing.assert_allclose(
        call(laid_out(documents)), expected, rtol=1e-5, atol=1e-5
    )
    for document, logits in zip(documents, expected, strict=True):
        np.testing.assert_allclose(
            call(laid_out([document]))[0], logits, rtol=1e-5, atol=1e-5
        )


def test_longer_company_changes_nothing(model, expected):
    documents = make_documents()
    company = make_documents((31,), seed=9)
    logits = model(laid_out([*documents, *company]))
    np.testing.assert_allclose(logits[:-1], expected, rtol=1e-5, atol=1e-5)


def test_padding_on_the_right_gives_the_same_logits(model, expected):
    documents = make_documents()[:5]
    padded = np.full((5, POOLED), 1)
    for row, document in zip(padded, documents, strict=True):
        row[: len(document)] = document
    np.testing.assert_allclose(
        model(padded), expected[:5], rtol=1e-5, atol=1e-5
    )


def test_the_beginning_of_a_long_document_moves_the_state(model, expected):
    changed = make_documents()[-1].copy()
    changed[0] = 2 if changed[0] != 2 else 3
    logits = model(laid_out([changed]))[0]
    difference = np.abs(logits - expected[-1]).max()
    assert difference > 1e-5
    np.testing.assert_allclose(
        logits, oracle(model, changed), rtol=1e-5, atol=1e-5
    )


def naive_logits(model, document):
    """Chunk by chunk in Python; states detached, the prefix as well."""
    states, hidden = None, []
    first = len(document) % CHUNK or CHUNK
    starts = [0, *range(first, len(document), CHUNK)]
    for start, end in zip(starts, [*starts[1:], len(document)], strict=True):
        chunk = tf.constant(document[None, start:end])
        outputs, states = model.encoder(
            chunk, initial_states=states, training=True
        )
        states = [[tf.stop_gradient(p) for p in state] for state in states]
        if len(document) - start > POOLED:
            outputs = tf.stop_gradient(outputs)
        hidden.append(outputs[0])
    hidden = tf.concat(hidden, 0)[-POOLED:]
    summary = [
        hidden[-1],
        tf.reduce_max(hidden, 0),
        tf.reduce_mean(hidden, 0),
    ]
    return tf.concat(summary, 0)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_gradients_are_those_of_detached_chunks(graph):
    model, documents = make_model(), make_documents((3, 8, 13, 22))
    variables = [v.value for v in model.trainable_variables]
    weights = tf.constant(
        np.random.default_rng(2).normal(size=(4, CLASSES)), tf.float32
    )

    def gradients(token_ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(weights * model(token_ids, training=True))
        return [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

    if graph:
        signature = [tf.TensorSpec((None, None), tf.int32)]
        gradients = tf.function(gradients, input_signature=signature)
    actual = gradients(laid_out(documents))
    with tf.GradientTape() as tape:
        summaries = [naive_logits(model, document) for document in documents]
        logits = model.head(tf.stack(summaries), training=True)
        loss = tf.reduce_sum(weights * logits)
    expected = tape.gradient(loss, variables)
    for variable, one, other in zip(
        model.trainable_variables, actual, expected, strict=True
    ):
        other = tf.convert_to_tensor(other)
        scale = np.abs(other).max()
        np.testing.assert_allclose(
            one, other, rtol=1e-4, atol=1e-4 * scale, err_msg=variable.path
        )


@pytest.mark.parametrize("use_cpu_kernel", [True, False])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_a_long_document_is_read_under_one_weight_mask(
    graph, use_cpu_kernel, monkeypatch
):
    kernels = {}
    drawn = []

    def dropped_kernel(layer, training):
        drawn.append(layer.name)
        return kernels[layer.name]

    model = make_model(dropouts=models.Dropouts(weight_dropout=0.5))
    rng = np.random.default_rng(4)
    for lstm in model.encoder.lstms:
        lstm.use_cpu_kernel = use_cpu_kernel
        raw = lstm.cell.recurrent_kernel
        mask = 2 * rng.integers(0, 2, raw.shape)
        kernels[lstm.name] = raw * tf.constant(mask, tf.float32)
    monkeypatch.setattr(WeightDropLSTM, "dropped_kernel", dropped_kernel)
    # Fourteen tokens come before what is pooled.
    documents = laid_out(make_documents((22, 22)))

    def logits(ids):
        return model(ids, training=True)

    if graph:
        signature = [tf.TensorSpec((None, None), tf.int32)]
        logits = tf.function(logits, input_signature=signature)
    actual = logits(documents)
    assert drawn == [lstm.name for lstm in model.encoder.lstms]
    # The same, with the masked weights as the layers' own.
    for lstm in model.encoder.lstms:
        lstm.cell.recurrent_kernel.assign(kernels[lstm.name])
    monkeypatch.undo()
    for lstm in model.encoder.lstms:
        lstm.weight_dropout = 0.0
    expected = model(documents, training=True)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_the_prefix_gets_no_gradient():
    model = make_model()
    prefix, pooled = np.arange(2, 9), np.arange(10, 10 + POOLED)
    other = np.full(POOLED, 18)
    documents = laid_out([np.concatenate([prefix, pooled]), other])
    embeddings = model.encoder.embedding.embeddings.value
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(documents, training=True)[:, 0] * [1, 2])
    gradient = tf.convert_to_tensor(tape.gradient(loss, embeddings)).numpy()
    reached = np.flatnonzero(np.abs(gradient).max(1))
    np.testing.assert_array_equal(reached, [*pooled, 18])


def test_head_follows_the_reference():
    model = models.TextClassifier(
        VOCABULARY_SIZE, CLASSES, models.Architecture(4, 5, 2)
    )
    kinds = [type(layer).__name__ for layer in model.head.layers]
    assert kinds == [
        "BatchNormalization",
        "Dropout",
        "Dense",
        "ReLU",
        "BatchNormalization",
        "Dropout",
        "Dense",
    ]
    norms = [model.head.layers[index] for index in (0, 4)]
    assert [norm.momentum for norm in norms] == [0.9, 0.9]
    assert [norm.epsilon for norm in norms] == [1e-5, 1e-5]
    assert [model.head.layers[index].rate for index in (1, 5)] == [0.4, 0.1]
    assert [model.head.layers[index].units for index in (2, 6)] == [50, 3]
    assert (model.chunk_length, model.pooled_length) == (70, 1400)


def test_mixed_precision_gives_float32_logits_from_a_float32_head(expected):
    model = make_model(dtype="mixed_bfloat16")
    logits = model(laid_out(make_documents()))
    assert logits.dtype == "float32"
    assert model.encoder.lstms[0].compute_dtype == "bfloat16"
    assert {layer.compute_dtype for layer in model.head.layers} == {"float32"}
    error = np.abs(logits - expected).max() / np.abs(expected).max()
    assert error < 0.1


@pytest.mark.parametrize("pooled_length", [2, 6])
def test_pooling_must_start_where_a_chunk_does(pooled_length):
    with pytest.raises(ValueError, match="multiple of `chunk_length`"):
        models.TextClassifier(
            VOCABULARY_SIZE,
            CLASSES,
            models.Architecture(4, 5, 2),
            chunk_length=CHUNK,
            pooled_length=pooled_length,
        )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_pair_averages_probabilities(activation):
    pair = models.BidirectionalPair(
        {"forward": make_model(), "backward": make_model(name="backward")},
        activation,
    )
    bias = pair.classifiers["backward"].head.layers[-1].bias
    bias.assign([-9.0, 2.0, 0.0])
    inputs = {
        "forward": laid_out(make_documents()),
        "backward": laid_out([d[::-1] for d in make_documents()]),
    }
    probabilities = []
    for direction, token_ids in inputs.items():
        exponents = np.exp(np.float64(pair.classifiers[direction](token_ids)))
        total = {"softmax": exponents.sum(1)[:, None], "sigmoid": 1 + exponents}
        probabilities.append(exponents / total[activation])
    assert np.abs(probabilities[0] - probabilities[1]).max() > 0.1
    np.testing.assert_allclose(
        pair(inputs), np.mean(probabilities, 0), rtol=1e-5, atol=1e-6
    )


def test_a_pair_knows_two_activations():
    with pytest.raises(ValueError, match="'softmax' or 'sigmoid'"):
        models.BidirectionalPair({"forward": make_model()}, "relu")


@pytest.mark.parametrize("directions", [(), ("forward", "sideways")])
def test_a_pair_knows_two_directions(directions):
    with pytest.raises(ValueError, match="'forward', 'backward' or both"):
        models.BidirectionalPair(dict.fromkeys(directions))


def test_pooled_states_are_regularized_in_training():
    """AR and TAR, of the pooled tokens and no padding, join the loss."""
    model = make_model(activation_l2=2.0, temporal_l2=1.0)
    documents = make_documents()
    labels = np.eye(CLASSES)[np.arange(len(documents)) % CLASSES]
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    tokens = laid_out(documents)
    logits = model(tokens, training=True)
    loss = model.compute_loss(tokens, labels, logits)
    states = [
        np.float64(model.encoder(document[None])[0][0])[-POOLED:]
        for document in documents
    ]
    steps = [np.diff(hidden, axis=0) for hidden in states]
    # The first, short chunk of 7 tokens ends before padding: no neighbours.
    seven = LENGTHS.index(7)
    steps[seven] = np.delete(steps[seven], 7 % CHUNK - 1, axis=0)
    penalty = np.mean([2 * (hidden**2).mean() for hidden in states])
    # A document of one token has no step.
    penalty += np.mean([(s**2).mean() if len(s) else 0 for s in steps])
    plain = model.loss(labels, logits)
    np.testing.assert_allclose(float(loss), float(plain) + penalty, rtol=1e-5)
    evaluated = model.compute_loss(tokens, labels, logits, training=False)
    np.testing.assert_allclose(evaluated, plain, rtol=1e-6)
