"""What a trained classifier answers, and how often it is built for that."""

import copy
import dataclasses
import pathlib
import pickle
import re

import numpy as np
import pytest

import ulmfit_tf
from ulmfit_tf import models, text
from ulmfit_tf.data import TaskType
from ulmfit_tf.pretrained import Decision, TrainedClassifier, classifier_files

README = pathlib.Path(ulmfit_tf.__file__).parents[1] / "README.md"
TEXTS = ["the cat sat", "", "the dog ran far away", "cat"]
SETTINGS = {
    "architecture": {"embedding_units": 4, "hidden_units": 5, "num_layers": 1},
    "head_units": 3,
    "chunk_length": 4,
    "pooled_length": 8,
}
# No probability of a sigmoid reaches the last.
SEVERAL_LABELS = Decision(TaskType.MULTI_LABEL, (1e-6, 1e-6, 1 - 1e-7))


@pytest.fixture
def classifier():
    words = sorted(set(" ".join(TEXTS).split()))
    vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, *words])
    model = models.TextClassifier(len(vocabulary), 3, **SETTINGS)
    model.build()
    rng = np.random.default_rng(0)
    weights = {
        name: rng.uniform(0.1, 1, variable.shape).astype("float32")
        for name, variable in models.classifier_weights(model).items()
    }
    return TrainedClassifier(
        ("good", "bad", "ugly"),
        text.WordTokenizer(vocabulary),
        SETTINGS,
        {"forward": weights},
    )


class _CountingTokenizer:
    """Counts how often another tokenizer is called or traced."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.vocabulary = tokenizer.vocabulary
        self.calls = 0

    def __call__(self, texts):
        self.calls += 1
        return self.tokenizer(texts)


@pytest.fixture
def traced(monkeypatch):
    """List of the models that probabilities were traced of."""
    models = []
    compute = classifier_files.document_probabilities

    def counted(model, documents):
        models.append(model)
        return compute(model, documents)

    monkeypatch.setattr(classifier_files, "document_probabilities", counted)
    return models


def test_a_loop_of_predictions_builds_one_model(classifier, traced):
    tokenizer = _CountingTokenizer(classifier.tokenizer)
    classifier = dataclasses.replace(classifier, tokenizer=tokenizer)
    together = classifier.predict(TEXTS)
    alone = [classifier.predict([each])[0] for each in TEXTS]
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-6)
    assert (len(traced), tokenizer.calls) == (1, 1)
    portable = [classifier.predict(TEXTS, portable=True) for _ in range(2)]
    np.testing.assert_allclose(portable, [together] * 2, rtol=1e-4, atol=1e-6)
    assert (len(traced), tokenizer.calls) == (2, 1)
    assert traced[0] is not traced[1]


def test_a_replaced_classifier_predicts_with_its_own_weights(classifier):
    before = classifier.predict(TEXTS)
    weights = {
        name: array[::-1].copy()
        for name, array in classifier.weights["forward"].items()
    }
    other = dataclasses.replace(classifier, weights={"forward": weights})
    fresh = TrainedClassifier(
        classifier.classes, classifier.tokenizer, SETTINGS, other.weights
    )
    np.testing.assert_allclose(
        other.predict(TEXTS), fresh.predict(TEXTS), rtol=1e-5
    )
    assert np.abs(other.predict(TEXTS) - before).max() > 1e-3
    np.testing.assert_array_equal(classifier.predict(TEXTS), before)


def test_a_classifier_can_be_copied_after_it_predicted(classifier):
    model = text.train_sentencepiece(TEXTS * 20, 30)
    tokenizer = text.SentencePieceTokenizer(model)
    weights = dict(classifier.weights["forward"])
    shape = (len(tokenizer.vocabulary), 4)
    weights["embedding"] = np.resize(weights["embedding"], shape)
    # The other tokenizer's table cannot be pickled.
    classifier = dataclasses.replace(
        classifier, tokenizer=tokenizer, weights={"forward": weights}
    )
    expected = classifier.predict(TEXTS)
    for other in (
        copy.copy(classifier),
        copy.deepcopy(classifier),
        pickle.loads(pickle.dumps(classifier)),
    ):
        assert vars(other).keys() == {
            field.name for field in dataclasses.fields(classifier)
        }
        np.testing.assert_allclose(other.predict(TEXTS), expected, rtol=1e-5)


@pytest.mark.parametrize("received", ["Who wrote it?", b"Who wrote it?"])
def test_a_single_text_is_refused(classifier, received):
    """Its characters would be taken for texts."""
    with pytest.raises(ValueError, match=r"Received: b?'Who wrote it.*\[text"):
        classifier.predict(received)


def test_labels_are_names_of_classes(classifier):
    probabilities = np.array([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]], "float32")
    assert classifier.labels(probabilities) == ["bad", "good"]
    assert classifier.labels(probabilities[:0]) == []
    several = Decision(TaskType.MULTI_LABEL, (0.5, 0.6, 0.2))
    sets = dataclasses.replace(classifier, decision=several)
    assert sets.labels(probabilities) == [["bad", "ugly"], ["good", "ugly"]]
    assert sets.labels(probabilities / 10) == [[], []]
    assert sets.labels(probabilities[:0]) == []


@pytest.mark.parametrize(
    "decision, printed",
    [
        pytest.param(None, r"\['(good|bad|ugly)'\]", id="one_label"),
        pytest.param(
            SEVERAL_LABELS, r"\[\['good', 'bad'\]\]", id="several_labels"
        ),
    ],
)
def test_the_snippet_of_the_readme(
    classifier, decision, printed, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    asked = dataclasses.replace(classifier, decision=decision)
    asked.save_to_preset("runs/RUN/classifier")
    content = README.read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", content, re.M | re.S)
    names: dict = {}
    exec(snippet, names)
    assert names["probabilities"].shape == (1, 3)
    assert re.fullmatch(printed, capsys.readouterr().out.strip())
