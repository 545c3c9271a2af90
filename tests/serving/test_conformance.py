"""What every exported model must do, whatever kind it is."""

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


def _subwords():
    model = text.train_sentencepiece(_SUBWORD_CORPUS, vocabulary_size=80)
    return text.SentencePieceTokenizer(model)


_TASKS = {
    "binary": (("neg", "pos"), None),
    "multiclass": (("ABBR", "DESC", "ENTY", "HUM"), None),
    # Far apart, so that random weights answer some classes and not others.
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


@pytest.fixture(scope="module", params=_KINDS)
def kind(request, tmp_path_factory, make_classifier):
    """A `(TrainedClassifier, SessionModel)` of each exportable kind."""
    if request.param == _FAST[0]:
        classifier = request.getfixturevalue("classifier")
        directory = request.getfixturevalue("model_directory") / "1"
    else:
        tokens, directions, task = request.param
        classes, thresholds = _TASKS[task]
        classifier = make_classifier(
            _DIRECTIONS[directions],
            classes,
            _subwords() if tokens == "sentencepiece" else None,
            thresholds=thresholds,
        )
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
    classifier, model = kind
    # Two words in turn: one alone would be a single, repeated word.
    pair = " ".join(_LONG_WORDS) + " "
    document = pair * ((1 << 20) // len(pair))
    (length,) = classifier.tokenizer([document]).row_lengths().numpy()
    assert 60_000 < length < 70_000
    both = _probabilities(model, ["who wrote this", document])
    assert np.isfinite(both).all()
    alone = _probabilities(model, ["who wrote this"])
    np.testing.assert_allclose(both[:1], alone, atol=1e-5)


def test_a_word_of_a_megabyte(kind):
    _, model = kind
    assert np.isfinite(_probabilities(model, ["x" * (1 << 20)])).all()


def test_only_operations_that_the_server_has(kind):
    _, model = kind
    assert unknown_operations(model.meta_graph) == []


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
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "text": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[each.encode()])
                    )
                }
            )
        ).SerializeToString()
        for each in _QUESTIONS
    ]
    outputs = model.run("classify", {"inputs": np.array(examples, object)})
    np.testing.assert_allclose(
        outputs["scores"], _probabilities(model, _QUESTIONS), atol=1e-6
    )
    names = [name.encode() for name in classifier.classes]
    assert outputs["classes"].tolist() == [names] * len(_QUESTIONS)
