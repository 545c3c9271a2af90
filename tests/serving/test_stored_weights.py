import keras
import numpy as np
import pytest
import tensorflow as tf

from serving.stored_weights import StoredWeights
from ulmfit_tf.pretrained import document_probabilities


def _variables():
    rng = np.random.default_rng(0)
    # Rows, then columns, of very different size; then a vector.
    tall = rng.normal(size=(40, 8)) * np.logspace(-3, 2, 40)[:, None]
    wide = rng.normal(size=(8, 40)) * np.logspace(-3, 2, 40)
    wide[:, 3] = 0.0
    arrays = (tall, wide, np.array([1e-4, 3.0]))
    return [keras.Variable(a.astype("float32")) for a in arrays]


@pytest.mark.parametrize(
    "precision, relative", [("float16", 2**-10), ("int8", 1 / 127)]
)
def test_each_row_or_column_keeps_its_precision(precision, relative):
    variables = _variables()
    stored = StoredWeights(variables, precision)
    tall, wide, _ = (v.numpy() for v in variables)
    got_tall, got_wide, _ = (t.numpy() for t in stored.tensors())
    row_size = np.abs(tall).max(1, keepdims=True)
    assert (np.abs(got_tall - tall) <= relative * row_size + 1e-7).all()
    column_size = np.abs(wide).max(0, keepdims=True)
    assert (np.abs(got_wide - wide) <= relative * column_size + 1e-7).all()


def test_vectors_of_int8_stay_float32():
    variables = _variables()
    *_, vector = StoredWeights(variables, "int8").tensors()
    np.testing.assert_array_equal(vector, variables[-1].numpy())


def test_the_model_computes_with_them():
    layer = keras.layers.Dense(3)
    layer.build((None, 4))
    stored = StoredWeights(layer.weights, "int8")
    inputs = np.eye(4, dtype="float32")
    kernel, bias = stored.tensors()
    with stored.used([kernel, bias]):
        outputs = layer(inputs)
    np.testing.assert_allclose(outputs, kernel + bias, rtol=1e-6)
    assert stored.values[0].dtype == "int8"


def test_float32_are_the_models_own():
    variables = _variables()
    stored = StoredWeights(variables)
    assert stored.tensors() is None
    assert [v is w.value for v, w in zip(stored.values, variables, strict=True)]


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="precision"):
        StoredWeights([], "float64")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_answer_does_not_depend_on_the_batch(make_classifier, dtype):
    classifier = make_classifier(("forward", "backward"))
    pair = classifier.build(dtype=dtype)
    # Where a document is cut depends on which others are read with it.
    # Not one word again and again, which becomes a number and a word.
    texts = ["bad film " * (n // 2) for n in (300, 150, 90, 40, 9, 2)]
    lengths = classifier.tokenizer(tf.constant(texts)).row_lengths()
    assert lengths[0] > 300 and lengths[1] > 150
    together, *alone = (
        document_probabilities(pair, classifier.tokenizer(tf.constant(batch)))
        for batch in (texts, *([text] for text in texts))
    )
    np.testing.assert_allclose(
        together,
        np.concatenate(alone),
        atol=1e-5 if dtype == "float32" else 1e-3,
    )


def test_a_state_is_handed_on_in_float32(make_classifier):
    classifier = make_classifier(("forward",)).build(dtype="bfloat16")
    lstm = classifier.classifiers["forward"].encoder.lstms[0]
    cell = np.full((1, lstm.units), 1.234567, "float32")
    inputs = tf.zeros((1, 1, lstm.cell.kernel.shape[0]), tf.bfloat16)
    _, _, held = lstm(
        inputs, initial_state=[cell, cell], mask=tf.constant([[False]])
    )
    np.testing.assert_array_equal(held, cell)


def test_bfloat16_halves_the_model_and_hardly_moves_an_answer(make_classifier):
    classifier = make_classifier(("forward", "backward"))
    texts = ["A good film .", "", "bad film " * 150]
    ids = classifier.tokenizer(tf.constant(texts))
    exact, low = (
        document_probabilities(classifier.build(dtype=dtype), ids).numpy()
        for dtype in ("float32", "bfloat16")
    )
    assert np.abs(exact - low).max() < 0.05
    assert not np.array_equal(exact, low)
    pair = classifier.build(dtype="bfloat16")
    stored = StoredWeights(pair.weights, "bfloat16")
    assert stored.tensors() is None
    types = {value.dtype for value in stored.values}
    # The head stays in float32.
    assert types == {tf.bfloat16, tf.float32}
    matrices = [v for v in stored.values if v.dtype == tf.bfloat16]
    encoder = sum(
        w.size
        for d in classifier.weights.values()
        for name, w in d.items()
        if not name.startswith("head")
    )
    assert sum(int(tf.size(m)) for m in matrices) == encoder
