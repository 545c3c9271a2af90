"""Class probabilities of texts: one at a time, and in batches of 64."""

from benchmarks.row import Case, Comparison, Row

_VOCABULARY = {"vocabulary_size": 30000}
_PRECISIONS = ("float32", "bfloat16")


def _case(name, side, function, **arguments):
    return Case(
        name,
        side,
        f"benchmarks.{side}.classifier:{function}",
        {**_VOCABULARY, **arguments},
    )


def _cases(name, function, at_least, aim, **arguments):
    """Fastai in float32, its format at inference, and both of ours."""
    fastai = _case(f"fastai, {name}", "theirs", function, **arguments)
    ours = [
        _case(f"{dtype}, {name}", "ours", function, dtype=dtype, **arguments)
        for dtype in _PRECISIONS
    ]
    comparisons = [
        Comparison(case.name, case.name, fastai.name, at_least, aim=aim)
        for case in ours
    ]
    return (fastai, *ours), comparisons


_GROUPS = (
    _cases("a question", "single_predictions", 5, 20, text_kind="question"),
    _cases("a review", "single_predictions", 5, 20, text_kind="review"),
    _cases("batch 64", "batch_predictions", 2, 4, documents=64, batch=64),
)

ROW = Row(
    name="inference",
    title="Classifier inference, 400/1152/3",
    unit="documents/s",
    cases=tuple(case for cases, _ in _GROUPS for case in cases),
    comparisons=tuple(
        comparison for _, comparisons in _GROUPS for comparison in comparisons
    ),
    repeats=5,
)
