"""The linear baseline that a language model has to beat."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC


def linear_probabilities(train_texts, train_labels, texts, num_classes):
    """Trains linear SVMs on TF-IDF of 1-2-grams and lets them answer.

    Args:
        train_texts: List of str.
        train_labels: Int array `(train_texts,)`; or bool array `(train_texts,
            classes)`, where each class gets a machine of its own.
        texts: List of str.
        num_classes: Int.

    Returns:
        Float array `(texts, classes)`, the likeliest class being the answer,
        or those of more than 0.5. Not calibrated.
    """
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        # Punctuation tells questions apart, so it stays.
        token_pattern=r"(?u)\w+|[^\w\s]",
        sublinear_tf=True,
    )
    features = vectorizer.fit_transform(train_texts)
    asked = vectorizer.transform(texts)
    if train_labels.ndim == 1:
        answers = LinearSVC().fit(features, train_labels).predict(asked)
        return np.eye(num_classes, dtype="float32")[answers]
    margins = [_margins(features, flags, asked) for flags in train_labels.T]
    return (1 / (1 + np.exp(-np.stack(margins, axis=1)))).astype("float32")


def linear_error(train_texts, train_labels, texts, labels):
    """Returns the per cent of `texts` whose one label is answered wrong.

    Args:
        train_texts: List of str.
        train_labels: Int array `(train_texts,)`.
        texts: List of str.
        labels: Int array `(texts,)`.
    """
    num_classes = 1 + max(train_labels.max(), labels.max())
    answers = linear_probabilities(
        train_texts, train_labels, texts, num_classes
    ).argmax(axis=1)
    return 100 * float(np.mean(answers != labels))


def _margins(features, flags, asked):
    """Signed distances of texts from a class' border."""
    if flags.all() or not flags.any():
        # Few labels may have no text of a class, or no other.
        return np.full(asked.shape[0], np.inf if flags.all() else -np.inf)
    return LinearSVC().fit(features, flags).decision_function(asked)
