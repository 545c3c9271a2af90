"""What every exported model must do, whatever kind it is."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from serving.allowed_operations import unknown_operations
from serving.saved_model import export_classifier
from serving.session_model import SessionModel
from ulmfit_tf import text

# As long as a piece can be, so that a megabyte of them is few tokens.
_LONG_WORDS = ("acknowledgement", "straightforward")
_SUBWORD_CORPUS = [
    *(f"what is the capital of france and who wrote {n}" for n in range(200)),
    # In changing order, or the trainer makes one piece of two words.
    *(
        f"{_LONG_WORDS[n & 1]} {_LONG_WORDS[n >> 1 & 1]} {_LONG_WORDS[n >> 2]}"
        for n in list(range(8)) * 100
    ),
]
_QUESTIONS = (
    "What is the capital of France?",
    "who wrote this",
    "",
    "when was a film made? " * 30,
    "one " * 9,
)
_SIGNATURES = ("serving_default", "classify", "tokens")


def _subwords():
    model = text.train_sentencepiece(_SUBWORD_CORPUS, vocabulary_size=80)
    return text.SentencePieceTokenizer(model)


_TASKS = {
    "binary": (("neg", "pos"), None),
    "multiclass": (("ABBR", "DESC", "ENTY", "HUM"), None),
    # Apart, so that a threshold of another class would show.
    "multilabel": (("red", "green", "blue"), (0.2, 0.5, 0.8)),
}
_DIRECTIONS = {
    "forward": ("forward",),
    "backward": ("backward",),
    "both": ("forward", "backward"),
}
# The first is the one that other tests use too; the rest is marked slow.
_FAST = (
    ("word", "both", "multiclass"),
    ("sentencepiece", "backward", "multilabel"),
)
_KINDS = [
    pytest.param(
        kind,
        id="-".join(kind),
        marks=() if kind in _FAST else pytest.mark.slow,
    )
    for kind in itertools.product(
        ("word", "sentencepiece"), _DIRECTIONS, _TASKS
    )
]


def _with_varied_answers(classifier):
    """Rescales the logits: random weights alone answer any text alike."""
    is_multilabel = classifier.decision.thresholds is not None
    weights = {}
    for direction, arrays in classifier.weights.items():
        alone = dataclasses.replace(classifier, weights={direction: arrays})
        shares = alone.predict(_random_texts()).astype("float64")
        if is_multilabel:
            logits = np.log(shares / (1 - shares))
            scale = 1.5 / logits.std(axis=0)
        else:
            logits = np.log(shares)
            logits -= logits.mean(axis=1, keepdims=True)
            scale = 1.5 / logits.std(axis=0).mean()
        kernel, bias = arrays["head_logits/kernel"], arrays["head_logits/bias"]
        rescaled = {
            "head_logits/kernel": kernel * scale,
            "head_logits/bias": (bias - logits.mean(axis=0)) * scale,
        }
        weights[direction] = arrays | {
            name: array.astype("float32") for name, array in rescaled.items()
        }
    return dataclasses.replace(classifier, weights=weights)


def _random_texts():
    rng = np.random.default_rng(0)
    return [
        " ".join(rng.choice(["what", "is", "film", "of"], size))
        for size in rng.integers(0, 90, 150)
    ]


@pytest.fixture(scope="module", params=_KINDS)
def kind(request, tmp_path_factory, make_classifier):
    """A `(TrainedClassifier, SessionModel)` of each exportable kind."""
    if request.param == _FAST[0]:
        classifier = request.getfixturevalue("classifier")
        directory = request.getfixturevalue("model_directory") / "1"
    else:
        tokens, directions, task = request.param
        classes, thresholds = _TASKS[task]
        classifier = _with_varied_answers(
            make_classifier(
                _DIRECTIONS[directions],
                classes,
                _subwords() if tokens == "sentencepiece" else None,
                thresholds=thresholds,
                spread=0.5,
            )
        )
        directory = export_classifier(
            classifier, tmp_path_factory.mktemp("kind")
        )
    model = SessionModel(directory)
    yield classifier, model
    model.close()


def _run(model, name, texts):
    """Runs a signature on str or bytes, as examples for `classify`."""
    array = np.empty(len(texts), object)
    array[:] = texts
    if name != "classify":
        return model.run(name, {"text": array})
    array[:] = [_example(text) for text in texts]
    return model.run(name, {"inputs": array})


def _example(text):
    example = tf.train.Example()
    value = text if isinstance(text, bytes) else text.encode("utf-8")
    example.features.feature["text"].bytes_list.value.append(value)
    return example.SerializeToString()


def _probabilities(model, texts):
    return _run(model, "serving_default", texts)["probabilities"]


def test_answers_are_the_trainers(kind):
    classifier, model = kind
    expected = classifier.predict(_QUESTIONS)
    np.testing.assert_allclose(
        _probabilities(model, _QUESTIONS), expected, atol=1e-5
    )


def _assert_same(outputs, expected):
    """Compares rows: names and labels exactly, numbers up to rounding."""
    assert set(outputs) == set(expected)
    for name, array in outputs.items():
        if array.dtype == object:
            assert array.tolist() == expected[name].tolist()
        else:
            np.testing.assert_allclose(array, expected[name], atol=1e-5)


@pytest.mark.parametrize(
    "name, varying", [("serving_default", "label"), ("classify", "scores")]
)
def test_answers_do_not_depend_on_the_batch(kind, name, varying):
    _, model = kind
    texts = _random_texts()
    together = _run(model, name, texts)
    # Answers that were all alike would be so in any order.
    assert len(set(map(str, together[varying]))) > 1

    def rows(indices):
        return {key: array[indices] for key, array in together.items()}

    order = np.random.default_rng(1).permutation(len(texts))
    shuffled = _run(model, name, [texts[i] for i in order])
    _assert_same(shuffled, rows(order))
    for index in range(0, len(texts), 10):
        _assert_same(_run(model, name, [texts[index]]), rows([index]))


@pytest.mark.parametrize("name", _SIGNATURES)
def test_an_empty_batch_has_no_answers(kind, name):
    _, model = kind
    outputs = _run(model, name, [])
    assert {len(array) for array in outputs.values()} == {0}


def test_invalid_utf8_is_replaced_and_harms_no_neighbour(kind):
    _, model = kind
    invalid = [b"what \xff\xfe is", b"who wrote this"]
    replaced = ["what \ufffd\ufffd is".encode(), b"who wrote this"]
    np.testing.assert_allclose(
        _probabilities(model, invalid),
        _probabilities(model, replaced),
        atol=1e-6,
    )


def test_ten_thousand_short_documents(kind):
    _, model = kind
    texts = [_QUESTIONS[i % 2] for i in range(10_000)]
    probabilities = _probabilities(model, texts)
    few = _probabilities(model, texts[:2])
    np.testing.assert_allclose(
        probabilities, np.tile(few, (5_000, 1)), atol=1e-5
    )


@pytest.mark.slow
def test_a_document_of_a_megabyte(kind):
    classifier, model = kind
    # Two words in turn: one alone would be a single, repeated word.
    pair = " ".join(_LONG_WORDS) + " "
    document = pair * ((1 << 20) // len(pair))
    (length,) = classifier.tokenizer([document]).row_lengths().numpy()
    assert 60_000 < length < 70_000
    texts = ["who wrote this", document]
    np.testing.assert_allclose(
        _probabilities(model, texts), classifier.predict(texts), atol=1e-5
    )


def test_a_word_of_a_megabyte(kind):
    _, model = kind
    assert np.isfinite(_probabilities(model, ["x" * (1 << 20)])).all()


def test_only_operations_that_the_server_has(kind):
    _, model = kind
    assert unknown_operations(model.meta_graph) == []


def test_every_output_begins_with_the_batch(kind):
    _, model = kind
    assert set(model.signatures) == set(_SIGNATURES)
    # As many rows as nothing else here has.
    texts = ["what", "is it", ""] * 7
    for name, signature in model.signatures.items():
        outputs = _run(model, name, texts)
        assert set(outputs) == set(signature.outputs)
        for array in outputs.values():
            assert array.ndim >= 1
            assert len(array) == len(texts)


def test_tokens_are_the_tokenizers(kind):
    classifier, model = kind
    texts = np.array(["What is the capital", "who"], object)
    outputs = model.run("tokens", {"text": texts})
    expected = classifier.tokenizer(list(texts))
    lengths = expected.row_lengths().numpy()
    np.testing.assert_array_equal(outputs["lengths"], lengths)
    np.testing.assert_array_equal(
        outputs["token_ids"], expected.to_tensor(text.PADDING_ID).numpy()
    )
    assert outputs["tokens"].shape == outputs["token_ids"].shape


def test_tokens_are_refused_where_padding_would_fill_the_memory(kind):
    _, model = kind
    # A word of each, or the tokenizer would count repetitions.
    texts = np.array(["what is " * 2500, *["who"] * 1000], object)
    with pytest.raises(tf.errors.InvalidArgumentError, match="fewer or short"):
        model.run("tokens", {"text": texts})
    assert len(model.run("tokens", {"text": texts[:100]})["lengths"]) == 100


def test_labels_follow_from_the_probabilities(kind):
    classifier, model = kind
    thresholds = classifier.decision.thresholds
    outputs = model.run(
        "serving_default", {"text": np.array(_QUESTIONS, object)}
    )
    expected = [
        classifier.classes[row.argmax()]
        if thresholds is None
        else "|".join(
            name
            for name, share, least in zip(
                classifier.classes, row, thresholds, strict=True
            )
            if share >= least
        )
        for row in outputs["probabilities"]
    ]
    assert [label.decode() for label in outputs["label"]] == expected
    assert outputs["classes"].shape == outputs["probabilities"].shape


def test_probabilities_are_of_one_label_or_of_each(kind):
    classifier, model = kind
    sums = _probabilities(model, _QUESTIONS).sum(axis=1)
    if classifier.decision.thresholds is None:
        np.testing.assert_allclose(sums, 1, atol=1e-5)
    else:
        assert np.abs(sums - 1).max() > 0.1


def test_classify_has_the_scores_of_all_classes(kind):
    classifier, model = kind
    outputs = _run(model, "classify", _QUESTIONS)
    np.testing.assert_allclose(
        outputs["scores"], _probabilities(model, _QUESTIONS), atol=1e-6
    )
    names = [name.encode() for name in classifier.classes]
    assert outputs["classes"].tolist() == [names] * len(_QUESTIONS)
