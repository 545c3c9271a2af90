"""The rows of the benchmark: one module a row, registered here."""

from benchmarks.rows import (
    lm_step,
)

ROWS = {row.name: row for row in (lm_step.ROW,)}
