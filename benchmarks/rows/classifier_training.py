"""Training of a classifier with all layers unfrozen, on reviews."""

from benchmarks.row import Case, Comparison, Row

# Batches as the recipes have them (`trainers.recipes.Recipe.batch_size`).
_SIZES = {"vocabulary_size": 30000, "batches": 3, "batch": 32}


def _case(name, side, **arguments):
    function = f"benchmarks.{side}.classifier:training"
    return Case(name, side, function, {**_SIZES, **arguments})


ROW = Row(
    name="classifier_training",
    title="Classifier training, 400/1152/3, lengths of reviews",
    unit="documents/s",
    cases=(
        _case("fastai float32", "theirs"),
        _case("float32", "ours", precision="float32"),
        _case("bfloat16", "ours", precision="mixed_bfloat16"),
    ),
    comparisons=(
        Comparison(
            "bfloat16 over fastai float32",
            "bfloat16",
            "fastai float32",
            at_least=2.0,
            aim=3.0,
        ),
        Comparison("float32 over fastai float32", "float32", "fastai float32"),
    ),
    repeats=2,
)
