"""The rows of the benchmark: one module a row, registered here."""

from benchmarks.rows import (
    classifier_training,
    inference,
    lm_step,
    lstm_layer,
    memory,
    start_up,
    tokenization,
)

ROWS = {
    row.name: row
    for row in (
        lstm_layer.ROW,
        lm_step.ROW,
        classifier_training.ROW,
        inference.ROW,
        tokenization.ROW,
        memory.ROW,
        start_up.ROW,
    )
}
