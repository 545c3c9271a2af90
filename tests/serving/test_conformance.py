"""What every exported model must do, whatever kind it is."""

import numpy as np
import pytest

from serving import self_check
from serving.saved_model import export_classifier
from serving.session_model import SessionModel
from ulmfit_tf import text

_SUBWORD_CORPUS = [
    f"what is the capital of france and who wrote this {number}"
    for number in range(200)
]
_QUESTIONS = (
    "What is the capital of France?",
    "who wrote this",
    "",
    "when was a film made? " * 30,
    "one " * 9,
)


def _subwords():
    model = text.train_sentencepiece(_SUBWORD_CORPUS, vocabulary_size=60)
    return text.SentencePieceTokenizer(model)


_slow = pytest.mark.slow
_KINDS = [
    pytest.param(("default",), id="word-both-multiclass"),
    pytest.param(
        ("word", ("forward",), ("neg", "pos")),
        id="word-forward-binary",
        marks=_slow,
    ),
    pytest.param(
        ("word", ("backward",), ("a", "b", "c", "d")),
        id="word-backward-multiclass",
        marks=_slow,
    ),
    pytest.param(
        ("subword", ("forward", "backward"), ("neg", "pos")),
        id="sentencepiece-both-binary",
        marks=_slow,
    ),
]


@pytest.fixture(scope="module", params=_KINDS)
def kind(request, tmp_path_factory, make_classifier):
    """A `(TrainedClassifier, SessionModel)` of each exportable kind."""
    if request.param == ("default",):
        classifier = request.getfixturevalue("classifier")
        directory = request.getfixturevalue("model_directory") / "1"
    else:
        tokens, directions, classes = request.param
        tokenizer = _subwords() if tokens == "subword" else None
        classifier = make_classifier(directions, classes, tokenizer)
        directory = export_classifier(
            classifier, tmp_path_factory.mktemp("kind")
        )
    model = SessionModel(directory)
    yield classifier, model
    model.close()


def _probabilities(model, texts):
    array = np.empty(len(texts), object)
    array[:] = texts
    return model.run("serving_default", {"text": array})["probabilities"]


def test_answers_are_the_trainers(kind):
    classifier, model = kind
    expected = classifier.predict(_QUESTIONS)
    np.testing.assert_allclose(
        _probabilities(model, _QUESTIONS), expected, atol=1e-5
    )


def test_answers_do_not_depend_on_the_batch(kind):
    _, model = kind
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice(["what", "is", "film", "of"], size))
        for size in rng.integers(0, 90, 150)
    ]
    together = _probabilities(model, texts)
    order = rng.permutation(len(texts))
    shuffled = _probabilities(model, [texts[i] for i in order])
    np.testing.assert_allclose(shuffled, together[order], atol=1e-5)
    for index in range(0, len(texts), 10):
        alone = _probabilities(model, [texts[index]])
        np.testing.assert_allclose(alone[0], together[index], atol=1e-5)


@pytest.mark.parametrize("name", ["serving_default", "tokens"])
def test_an_empty_batch_has_no_answers(kind, name):
    _, model = kind
    outputs = model.run(name, {"text": np.empty(0, object)})
    assert {len(array) for array in outputs.values()} == {0}


def test_no_examples_have_no_classes(kind):
    _, model = kind
    outputs = model.run("classify", {"inputs": np.empty(0, object)})
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
    _, model = kind
    # Long words, so that the test takes seconds: 24,000 of them.
    document = ("whatisthecapitaloffranceandwhowrotethisfilm " * 24_000)[
        : 1 << 20
    ]
    both = _probabilities(model, ["who wrote this", document])
    assert np.isfinite(both).all()
    alone = _probabilities(model, ["who wrote this"])
    np.testing.assert_allclose(both[:1], alone, atol=1e-5)


def test_a_word_of_a_megabyte(kind):
    _, model = kind
    assert np.isfinite(_probabilities(model, ["x" * (1 << 20)])).all()


def test_only_operations_that_the_server_has(kind):
    _, model = kind
    assert self_check.forbidden_operations(model.meta_graph) == []


def test_every_output_begins_with_the_batch(kind):
    _, model = kind
    for name, signature in model.signatures.items():
        (feed,) = signature.inputs
        if name == "classify":
            continue
        outputs = model.run(name, {feed: np.array(["what", "is it"], object)})
        for array in outputs.values():
            assert array.ndim >= 1
            assert len(array) == 2


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


def test_labels_are_the_likeliest_classes(kind):
    classifier, model = kind
    array = np.array(_QUESTIONS, object)
    outputs = model.run("serving_default", {"text": array})
    best = outputs["probabilities"].argmax(1)
    assert [label.decode() for label in outputs["label"]] == [
        classifier.classes[index] for index in best
    ]
    assert outputs["classes"].shape == outputs["probabilities"].shape
