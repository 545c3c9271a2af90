"""Test errors of the linear baseline.

python -m benchmarks.linear_baseline trec6 questions
"""

import argparse

from trainers.experiments.linear import linear_error
from ulmfit_tf import data


def main():
    """Prints the test error of TF-IDF of 1-2-grams with a linear SVM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("datasets", nargs="+")
    for name in parser.parse_args().datasets:
        dataset = data.load_dataset(name)
        error = linear_error(
            dataset.train_texts,
            dataset.train_labels,
            dataset.test_texts,
            dataset.test_labels,
        )
        print(f"{name}: {error:.1f} % of {len(dataset.test_texts)} wrong")


if __name__ == "__main__":
    main()
