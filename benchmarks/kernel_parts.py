"""Parts in which the LSTM kernel trains a batch, measured in turn.

python -m benchmarks.kernel_parts
"""

import argparse
import json

import numpy as np

from benchmarks.ours.lm_step import training_step
from ulmfit_tf.layers import lstm_kernel


def main():
    """Prints the median tokens a second for each number of parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel_parts")
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=8)
    arguments = parser.parse_args()
    measures = {}
    for parts in arguments.parts:
        # Read when the training step is traced, which its first call does.
        lstm_kernel._NUM_PARTS = parts
        measures[parts] = training_step(
            20000, 64, 70, "mixed_bfloat16", preset="compact", sample_size=2048
        )
        measures[parts]()
    values = {parts: [] for parts in measures}
    for _ in range(arguments.repeats):
        for parts, measure in measures.items():
            values[parts].append(measure())
    print(json.dumps({k: round(np.median(v)) for k, v in values.items()}))


if __name__ == "__main__":
    main()
