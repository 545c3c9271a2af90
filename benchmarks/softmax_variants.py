"""Training losses over a large vocabulary, measured in turn.

python -m benchmarks.softmax_variants

Full, sampled and adaptive (Grave et al., 2017, "Efficient softmax
approximation for GPUs"), forward and backward, bfloat16 products. The
adaptive one is written for this measurement alone: two tails whose states
are projected to a quarter and a sixteenth of their width.
"""

import argparse
import json
import time

import keras
import numpy as np
import tensorflow as tf

from ulmfit_tf.layers import SampledSoftmax
from ulmfit_tf.layers.softmax_loss import softmax_loss

_SAMPLE = 2048
_POSITIONS = 64 * 70


class Adaptive:
    """An adaptive softmax with matrices of its own.

    Args:
        units: Int, width of the hidden states.
        vocabulary_size: Int.
        cutoffs: Ints, where the first and the second tail begin.
    """

    def __init__(self, units, vocabulary_size, cutoffs):
        self.edges = [0, *cutoffs, vocabulary_size]
        self.head = _matrix(cutoffs[0] + len(cutoffs), units)
        self.projections, self.tails = [], []
        for tail, (low, high) in enumerate(
            zip(self.edges[1:-1], self.edges[2:], strict=True), start=1
        ):
            width = units // 4**tail
            self.projections.append(_matrix(units, width))
            self.tails.append(_matrix(high - low, width))

    def variables(self):
        """Returns everything that is trained."""
        return [self.head, *self.projections, *self.tails]

    def __call__(self, hidden, targets):
        """Returns the summed cross-entropy."""
        first = self.edges[1]
        head_targets = targets
        total = 0.0
        for tail, (projection, rows) in enumerate(
            zip(self.projections, self.tails, strict=True)
        ):
            low, high = self.edges[tail + 1], self.edges[tail + 2]
            inside = (targets >= low) & (targets < high)
            head_targets = tf.where(inside, first + tail, head_targets)
            states = tf.matmul(
                tf.boolean_mask(hidden, inside),
                tf.cast(projection, hidden.dtype),
            )
            total += _cross_entropy(
                states, tf.boolean_mask(targets, inside) - low, rows
            )
        return total + _cross_entropy(hidden, head_targets, self.head)


def _cross_entropy(hidden, targets, rows):
    bias = tf.zeros(rows.shape[:1])
    return tf.reduce_sum(softmax_loss(hidden, targets, rows, bias))


def _matrix(*shape):
    return tf.Variable(tf.random.normal(shape, stddev=0.05))


def _variants(units, vocabulary_size):
    """Returns functions of hidden states and targets, and their variables."""
    rows, bias = _matrix(vocabulary_size, units), _matrix(vocabulary_size)
    sampled = SampledSoftmax(_SAMPLE, dtype="mixed_bfloat16")
    adaptive = Adaptive(units, vocabulary_size, (2000, 10000))

    def sampled_loss(hidden, targets):
        losses = sampled(hidden[None], targets[None], rows, bias)
        return tf.reduce_sum(losses)

    return {
        "full": (
            lambda h, t: tf.reduce_sum(softmax_loss(h, t, rows, bias)),
            [rows, bias],
        ),
        "sampled": (sampled_loss, [rows, bias]),
        "adaptive": (adaptive, adaptive.variables()),
    }


def _step(loss, variables):
    @tf.function
    def step(hidden, targets):
        with tf.GradientTape() as tape:
            tape.watch(hidden)
            value = loss(hidden, targets)
        return tape.gradient(value, [hidden, *variables])

    def measure(hidden, targets):
        started = time.perf_counter()
        float(tf.cast(step(hidden, targets)[0][0, 0], tf.float32))
        return time.perf_counter() - started

    return measure


def main():
    """Prints the median seconds of a loss and its gradients."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.softmax_variants"
    )
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    for units, vocabulary_size in ((300, 20000), (400, 30000)):
        # Ids in order of frequency, log-uniform as words nearly are.
        draws = np.exp(rng.uniform(0, np.log(vocabulary_size), _POSITIONS))
        targets = tf.constant(draws.astype("int32") - 1, tf.int32)
        hidden = tf.cast(
            tf.random.normal((_POSITIONS, units), stddev=0.3), tf.bfloat16
        )
        steps = {
            name: _step(*variant)
            for name, variant in _variants(units, vocabulary_size).items()
        }
        values = {name: [] for name in steps}
        for repeat in range(arguments.repeats + 1):
            for name, measure in steps.items():
                seconds = measure(hidden, targets)
                if repeat:
                    values[name].append(seconds)
        medians = {k: round(float(np.median(v)), 4) for k, v in values.items()}
        shape = {"units": units, "words": vocabulary_size}
        print(json.dumps({**shape, "seconds": medians}))


if __name__ == "__main__":
    main()
