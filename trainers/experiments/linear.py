"""The linear baseline that a language model has to beat."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC


def linear_error(train_texts, train_labels, texts, labels):
    """Trains a linear SVM on TF-IDF of 1-2-grams and measures it.

    Args:
        train_texts: List of str.
        train_labels: Int array `(train_texts,)`.
        texts: List of str.
        labels: Int array `(texts,)`.

    Returns:
        Float, per cent of `texts` that it labels wrong.
    """
    model = make_pipeline(
        TfidfVectorizer(
            ngram_range=(1, 2),
            # Punctuation tells questions apart, so it stays.
            token_pattern=r"(?u)\w+|[^\w\s]",
            sublinear_tf=True,
        ),
        LinearSVC(),
    )
    model.fit(train_texts, train_labels)
    return 100 * float(np.mean(model.predict(texts) != labels))
