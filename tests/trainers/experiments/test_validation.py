"""Errors of the validation split, whatever the task type."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from trainers.experiments import linear
from trainers.experiments.validation import validation_error
from ulmfit_tf.data import load_dataset

_WORDS = {"animal": "dog", "place": "river", "time": "year"}


@pytest.fixture(scope="module")
def tags(tmp_path_factory):
    """Texts of any number of labels, each told by a word."""
    rng = np.random.default_rng(0)
    lines = ["text,tags"]
    for _ in range(120):
        labels = [name for name in _WORDS if rng.random() < 0.4]
        words = [*rng.choice(["a", "the", "of"], 4), *map(_WORDS.get, labels)]
        lines.append(f"{' '.join(rng.permutation(words))},{'|'.join(labels)}")
    path = tmp_path_factory.mktemp("data") / "tags.csv"
    path.write_text("\n".join(lines) + "\n")
    return load_dataset(
        str(path), label_column=["tags"], multi_label=True, test_fraction=0.2
    )


def test_the_error_of_several_labels_is_what_micro_f1_lacks(tags):
    labels = tags.test_labels
    rng = np.random.default_rng(1)
    noise = rng.uniform(0, 0.1, labels.shape)
    # Far from even odds, but a threshold of each class tells them apart.
    probabilities = (0.1 + 0.15 * labels + noise).astype("float32")
    assert (probabilities < 0.5).all()
    assert validation_error(tags, tags.test_texts, labels, probabilities) == 0
    # Two texts of which one class is surely wrong.
    probabilities[:2, 0] = 1 - labels[:2, 0]
    # The best F1 of a class over all thresholds, by trying each.
    answers = np.zeros(labels.shape, bool)
    for index, truth in enumerate(labels.T):
        tried = [
            probabilities[:, index] > threshold
            for threshold in np.linspace(0, 1, 1001)
        ]
        best = [metrics.f1_score(truth, each) for each in tried]
        answers[:, index] = tried[int(np.argmax(best))]
    expected = 100 * (1 - metrics.f1_score(labels, answers, average="micro"))
    error = validation_error(tags, tags.test_texts, labels, probabilities)
    assert error == pytest.approx(expected, abs=1e-3) and error > 0


def test_no_label_and_no_answer_is_no_error(tags):
    labels = np.zeros_like(tags.test_labels)
    probabilities = np.full(labels.shape, 0.01, "float32")
    assert validation_error(tags, tags.test_texts, labels, probabilities) == 0


def test_a_linear_machine_for_each_class(tags):
    probabilities = linear.linear_probabilities(
        tags.train_texts, tags.train_labels, tags.test_texts, 3
    )
    vectorizer = linear.TfidfVectorizer(
        ngram_range=(1, 2),
        token_pattern=r"(?u)\w+|[^\w\s]",
        sublinear_tf=True,
    )
    peer = OneVsRestClassifier(LinearSVC()).fit(
        vectorizer.fit_transform(tags.train_texts), tags.train_labels
    )
    expected = peer.predict(vectorizer.transform(tags.test_texts))
    np.testing.assert_array_equal(probabilities > 0.5, expected)
    assert (
        validation_error(tags, tags.test_texts, tags.test_labels, probabilities)
        < 20
    )


def test_a_class_that_all_or_no_texts_have_needs_no_machine():
    texts = ["a dog", "a river", "the dog", "the river"]
    labels = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 0]], bool)
    probabilities = linear.linear_probabilities(texts, labels, texts, 3)
    np.testing.assert_array_equal(probabilities > 0.5, labels)
    np.testing.assert_array_equal(probabilities[:, :2], [[1, 0]] * 4)


def test_one_label_of_several_classes_is_as_before():
    texts = ["a dog", "a river", "the dog", "the river", "a year"]
    labels = np.array([0, 1, 0, 1, 3])
    probabilities = linear.linear_probabilities(texts, labels, texts, 4)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), labels)
    assert linear.linear_error(texts, labels, texts, labels) == 0
    assert linear.linear_error(texts, labels, texts, (labels + 1) % 4) == 100
