"""Class probabilities of texts: one at a time, and in batches of 64."""

from benchmarks.row import Case, Comparison, Row

_VOCABULARY = {"vocabulary_size": 30000}


def _case(name, side, function, **arguments):
    return Case(
        name,
        side,
        f"benchmarks.{side}.classifier:{function}",
        {**_VOCABULARY, **arguments},
    )


def _both(name, function, at_least, aim, **arguments):
    cases = (
        _case(f"fastai, {name}", "theirs", function, **arguments),
        _case(f"ours, {name}", "ours", function, **arguments),
    )
    comparison = Comparison(
        name, cases[1].name, cases[0].name, at_least=at_least, aim=aim
    )
    return cases, comparison


_PAIRS = (
    _both("a question", "single_predictions", 5, 20, text_kind="question"),
    _both("a review", "single_predictions", 5, 20, text_kind="review"),
    _both("batch 64", "batch_predictions", 2, 4, documents=64, batch=64),
)

ROW = Row(
    name="inference",
    title="Classifier inference, 400/1152/3, float32",
    unit="documents/s",
    cases=tuple(case for cases, _ in _PAIRS for case in cases),
    comparisons=tuple(comparison for _, comparison in _PAIRS),
    repeats=5,
)
