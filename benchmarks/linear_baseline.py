"""The linear baseline that a language model has to beat.

python -m benchmarks.linear_baseline trec6 questions
"""

import argparse

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from ulmfit_tf import data


def main():
    """Prints the test error of TF-IDF of 1-2-grams with a linear SVM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("datasets", nargs="+")
    for name in parser.parse_args().datasets:
        dataset = data.load_dataset(name)
        model = make_pipeline(
            TfidfVectorizer(
                ngram_range=(1, 2),
                # Punctuation tells questions apart, so it stays.
                token_pattern=r"(?u)\w+|[^\w\s]",
                sublinear_tf=True,
            ),
            LinearSVC(),
        )
        model.fit(dataset.train_texts, dataset.train_labels)
        wrong = model.predict(dataset.test_texts) != dataset.test_labels
        print(f"{name}: {100 * np.mean(wrong):.1f} % of {len(wrong)} wrong")


if __name__ == "__main__":
    main()
