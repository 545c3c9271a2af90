"""Peak memory with a document of 20,000 tokens beside one of 1,400."""

from benchmarks.row import Case, Comparison, Row

_LENGTHS = (1400, 20000)


def _case(work, length):
    return Case(
        f"{work}, {length} tokens",
        "ours",
        f"benchmarks.ours.memory:{work}",
        {"vocabulary_size": 30000, "length": length},
        fresh=True,
    )


ROW = Row(
    name="memory",
    title="Peak memory of a process, 400/1152/3, one document",
    unit="MiB",
    cases=tuple(
        _case(work, length)
        for work in ("training", "inference")
        for length in _LENGTHS
    ),
    comparisons=tuple(
        Comparison(
            f"{work}, 20,000 tokens over 1,400",
            f"{work}, 20000 tokens",
            f"{work}, 1400 tokens",
            at_most=1.3,
            aim=1.1,
        )
        for work in ("training", "inference")
    ),
    repeats=1,
    warm_up=0,
)
