"""Raw text to token ids."""

from benchmarks.row import Case, Comparison, Row

# Ours compiles its graph once a corpus, theirs loads spaCy before it is
# timed: each side gets enough documents to run for seconds.
_DOCUMENTS = {"ours": 8192, "theirs": 512}


def _case(name, side, **arguments):
    function = f"benchmarks.{side}.tokenization:tokenization"
    sizes = {"documents": _DOCUMENTS[side]}
    return Case(name, side, function, {**sizes, **arguments})


ROW = Row(
    name="tokenization",
    title="Tokenization of reviews",
    unit="documents/s",
    cases=(
        _case("fastai and spaCy, one process", "theirs", workers=0),
        _case("fastai and spaCy, two processes", "theirs", workers=2),
        _case("ours", "ours"),
    ),
    comparisons=(
        Comparison(
            "over fastai, one process",
            "ours",
            "fastai and spaCy, one process",
            at_least=8.0,
            aim=15.0,
        ),
        Comparison(
            "over fastai, two processes",
            "ours",
            "fastai and spaCy, two processes",
        ),
    ),
    repeats=5,
)
