"""One training step of a language model, with everything AWD-LSTM does.

Windows of 64 x 70 tokens, the paper's architecture with fastai's 1152 units,
30,000 words, all dropouts, AR, TAR, clipping and Adam.
"""

from benchmarks.row import Case, Comparison, Row

_SIZES = {"vocabulary_size": 30000, "batch": 64, "timesteps": 70}


def _ours(name, **arguments):
    return Case(
        name,
        "ours",
        "benchmarks.ours.lm_step:training_step",
        {**_SIZES, **arguments},
    )


def _theirs(name, **arguments):
    return Case(
        name,
        "theirs",
        "benchmarks.theirs.lm_step:training_step",
        {**_SIZES, **arguments},
    )


ROW = Row(
    name="lm_step",
    title="Language model training step, 400/1152/3",
    unit="tokens/s",
    cases=(
        _theirs("fastai float32", autocast=False),
        _theirs("fastai bfloat16 autocast", autocast=True),
        _ours("float32", precision="float32"),
        _ours("bfloat16", precision="mixed_bfloat16"),
        _ours(
            "bfloat16, 2,048 sampled words",
            precision="mixed_bfloat16",
            sample_size=2048,
        ),
        # The step as it would be if it were nothing but matrix products.
        Case(
            "bound by bfloat16 matrix products",
            "ours",
            "benchmarks.ours.matrix_products:language_model_bound",
            {**_SIZES, "precision": "bfloat16"},
        ),
    ),
    comparisons=(
        Comparison(
            "bfloat16 over fastai float32",
            "bfloat16",
            "fastai float32",
            at_least=2.5,
            aim=3.0,
        ),
        Comparison(
            "bfloat16 over fastai bfloat16",
            "bfloat16",
            "fastai bfloat16 autocast",
            at_least=1.5,
            aim=2.0,
        ),
        Comparison(
            "float32 over fastai float32",
            "float32",
            "fastai float32",
            at_least=1.4,
            aim=1.8,
        ),
        Comparison(
            "sampled bfloat16 over fastai float32",
            "bfloat16, 2,048 sampled words",
            "fastai float32",
            at_least=4.0,
            aim=5.0,
        ),
        Comparison(
            "share of the matrix-product rate",
            "bfloat16",
            "bound by bfloat16 matrix products",
            at_least=0.65,
            aim=0.8,
        ),
    ),
    repeats=5,
)
