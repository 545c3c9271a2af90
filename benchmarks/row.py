"""What a row of the benchmark is made of."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing that is measured.

    Attributes:
        name: Str, unique in its row.
        side: `"ours"` or `"theirs"`: which environment's worker runs it.
        function: Str `"package.module:function"`. The worker calls it once
            with `arguments`; it returns a function without arguments that
            measures once and returns a number in the row's unit.
        arguments: Dict of keyword arguments, JSON-serializable.
        fresh: Bool, whether every measurement has a process of its own, as
            import times and peaks of memory need.
    """

    name: str
    side: str
    function: str
    arguments: dict = dataclasses.field(default_factory=dict)
    fresh: bool = False


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The ratio of two cases' medians, and what it should be.

    Attributes:
        name: Str.
        case: Str, the case above the line.
        reference: Str, the case below it.
        at_least: Optional float, the ratio that must be reached.
        at_most: Optional float, the ratio that must not be exceeded.
        aim: Optional float, the ratio hoped for.
    """

    name: str
    case: str
    reference: str
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None

    def is_met(self, ratio):
        """Whether `ratio` reaches the target; `None` without a target."""
        if self.at_least is not None:
            return ratio >= self.at_least
        if self.at_most is not None:
            return ratio <= self.at_most
        return None


@dataclasses.dataclass(frozen=True)
class Row:
    """Cases that are measured in turn, and the comparisons of them.

    Attributes:
        name: Str, for `--rows`.
        title: Str, for the table.
        unit: Str, of the measured numbers.
        cases: Tuple of `Case`s. In every repeat each is measured once.
        comparisons: Tuple of `Comparison`s.
        repeats: Int, measurements of each case.
        warm_up: Int, measurements before those that are not counted.
    """

    name: str
    title: str
    unit: str
    cases: tuple
    comparisons: tuple = ()
    repeats: int = 7
    warm_up: int = 1

    def __post_init__(self):
        names = [case.name for case in self.cases]
        for comparison in self.comparisons:
            for name in (comparison.case, comparison.reference):
                if name not in names:
                    raise ValueError(
                        f"Row `{self.name}` compares `{name}`, which is none "
                        f"of its cases: {', '.join(names)}."
                    )
