"""What inference could reach if nothing but its matrix products took time.

python -m benchmarks.inference_bounds

A token's products depend on those of the token before: of a text alone each
reads all recurrent kernels for one row. Prints, in JSON lines, the time a
token takes in the model's products alone and in its LSTMs as they are, and
the documents a second that the former would allow in the cases of the row
`inference`.
"""

import argparse
import json
import time

import numpy as np
import tensorflow as tf

from benchmarks.documents import single_text, texts, token_documents
from ulmfit_tf import models
from ulmfit_tf.layers import lstm_kernel
from ulmfit_tf.text import SPECIAL_TOKENS, Vocabulary, WordTokenizer

_TIMESTEPS = 100


def main():
    """Prints one line for each format and number of rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference_bounds"
    )
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    layers = _layers(models.ARCHITECTURES[arguments.preset])
    cases = _tokens_of_cases()
    for dtype in (tf.float32, tf.bfloat16):
        for rows, names in (
            (1, ("a question", "a review")),
            (64, ("batch 64",)),
        ):
            measures = {
                "products": [
                    _products(*sizes, rows, dtype) for sizes in layers
                ],
                "lstms": [_lstm(*sizes, rows, dtype) for sizes in layers],
            }
            times = _medians(measures, arguments.repeats)
            per_token = {
                name: value / (rows * _TIMESTEPS)
                for name, value in times.items()
            }
            bounds = {
                name: round(documents / (tokens * per_token["products"]), 1)
                for name, (documents, tokens) in cases.items()
                if name in names
            }
            line = {
                "dtype": dtype.name,
                "rows": rows,
                "products, us a token": round(1e6 * per_token["products"]),
                "LSTMs, us a token": round(1e6 * per_token["lstms"]),
                "documents/s at most": bounds,
            }
            print(json.dumps(line), flush=True)


def _layers(architecture):
    """Returns pairs of inputs' and state's width."""
    widths = [architecture.embedding_units]
    widths += [architecture.hidden_units] * (architecture.num_layers - 1)
    widths += [architecture.embedding_units]
    return list(zip(widths, widths[1:], strict=False))


def _tokens_of_cases():
    """Returns documents and tokens of the cases of the row `inference`."""
    tokenizer = WordTokenizer(Vocabulary(SPECIAL_TOKENS))

    def alone(kind):
        return 1, int(tokenizer([single_text(kind)]).row_lengths()[0])

    count = len(texts(64)[1])
    tokens = sum(map(len, token_documents(count, 30000)))
    return {
        "a question": alone("question"),
        "a review": alone("review"),
        "batch 64": (count, tokens),
    }


def _products(features, units, rows, dtype):
    """One product of all inputs, then the recurrent ones in their order."""
    inputs, kernel, recurrent = _tensors(features, units, rows, dtype)

    @tf.function
    def run():
        flat = tf.reshape(inputs, [-1, features])
        projected = tf.matmul(flat, kernel)
        state = tf.zeros((rows, units), dtype)
        for _ in tf.range(_TIMESTEPS):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            state = tf.matmul(state, recurrent)[:, :units]
        return tf.reduce_sum(state), projected[0, 0]

    return run


def _lstm(features, units, rows, dtype):
    inputs, kernel, recurrent = _tensors(features, units, rows, dtype)
    state = tf.zeros((rows, units))
    mask = tf.ones((rows, _TIMESTEPS), tf.bool)

    @tf.function
    def run():
        return lstm_kernel.lstm_sequence(
            inputs,
            state,
            state,
            kernel,
            recurrent,
            tf.zeros(4 * units),
            mask=mask,
            training=False,
        )[1]

    return run


def _tensors(features, units, rows, dtype):
    shapes = (
        (rows, _TIMESTEPS, features),
        (features, 4 * units),
        (units, 4 * units),
    )
    return [
        # Variables, lest the graph computes with them ahead.
        tf.Variable(tf.cast(tf.random.normal(shape, stddev=0.03), dtype))
        for shape in shapes
    ]


def _medians(measures, repeats):
    """Returns the median seconds of each list of functions, run in turn."""
    times = {name: [] for name in measures}
    # The first run traces.
    for repeat in range(repeats + 1):
        for name, functions in measures.items():
            started = time.perf_counter()
            for function in functions:
                tf.nest.map_structure(lambda each: each.numpy(), function())
            if repeat:
                times[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) for name, values in times.items()}


if __name__ == "__main__":
    main()
