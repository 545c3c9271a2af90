"""Test errors of the linear baseline: TF-IDF of 1-2-grams, a linear SVM.

python -m benchmarks.linear_baseline trec6 questions
"""

import argparse

from serving import command_line


def main(argv):
    """Prints the test error of each data set."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.linear_baseline",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument(
        "datasets", nargs="+", help="names, or files with `text` and `label`"
    )
    parser.add_argument(
        "--test-fraction",
        type=float,
        default=0.1,
        help="held out of data without a test split (default: 0.1)",
    )
    parser.add_argument(
        "--num-labels",
        type=int,
        help="train on that many labels only, as `trainers.classifier` does",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of their draw (default: 0)"
    )
    arguments = parser.parse_args(argv)
    from trainers.experiments.linear import linear_error
    from ulmfit_tf import data

    for name in arguments.datasets:
        try:
            dataset = data.load_dataset(
                name, test_fraction=arguments.test_fraction
            )
            if arguments.num_labels is not None:
                dataset = dataset.limit_labels(
                    arguments.num_labels, seed=arguments.seed
                )
        except data.DataError as error:
            raise command_line.UserError(str(error)) from error
        if dataset.test_texts is None:
            raise command_line.UserError(
                f"`{name}` has no test split. Give a `--test-fraction` above 0."
            )
        error = linear_error(
            dataset.train_texts,
            dataset.train_labels,
            dataset.test_texts,
            dataset.test_labels,
        )
        print(f"{name}: {error:.1f} % of {len(dataset.test_texts)} wrong")


if __name__ == "__main__":
    command_line.run(main)
