"""What inference could reach if nothing but its matrix products took time.

python -m benchmarks.inference_bounds

A token's recurrent products depend on those of the token before: of a text
alone each reads all recurrent kernels for one row. For the cases of the row
`inference`, prints in JSON lines the milliseconds that a token takes in the
products alone and in the LSTMs as they are, and the documents a second that
the former would allow.
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


def main(argv=None):
    """Prints one line for each case and format."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference_bounds"
    )
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args(argv)
    layers = _layers(models.ARCHITECTURES[arguments.preset])
    for name, documents, tokens, rows, timesteps in _cases():
        for dtype in (tf.float32, tf.bfloat16):
            shape = (rows, timesteps)
            measures = {
                "products": [
                    _products(*sizes, *shape, dtype) for sizes in layers
                ],
                "LSTMs": [_lstm(*sizes, *shape, dtype) for sizes in layers],
            }
            times = _medians(measures, arguments.repeats)
            per_token = {
                part: value / (rows * timesteps)
                for part, value in times.items()
            }
            line = {
                "case": name,
                "dtype": dtype.name,
                "products, ms a token": round(1e3 * per_token["products"], 3),
                "LSTMs, ms a token": round(1e3 * per_token["LSTMs"], 3),
                "documents/s at most": round(
                    documents / (tokens * per_token["products"]), 1
                ),
            }
            print(json.dumps(line), flush=True)


def _layers(architecture):
    """Returns pairs of inputs' and state's width."""
    widths = [architecture.embedding_units]
    widths += [architecture.hidden_units] * (architecture.num_layers - 1)
    widths += [architecture.embedding_units]
    return list(zip(widths, widths[1:], strict=False))


def _cases():
    """Returns tuples: name, documents, tokens, rows and timesteps measured."""
    tokenizer = WordTokenizer(Vocabulary(SPECIAL_TOKENS))

    def alone(name, kind):
        tokens = int(tokenizer([single_text(kind)]).row_lengths()[0])
        return name, 1, tokens, 1, tokens

    count = len(texts(64)[1])
    tokens = sum(map(len, token_documents(count, 30000)))
    return (
        alone("a question", "question"),
        alone("a review", "review"),
        # As if all were equally long, so that no product had fewer rows.
        ("batch 64", count, tokens, count, 100),
    )


def _products(features, units, rows, timesteps, dtype):
    """One product of all inputs, then the recurrent ones in their order."""
    inputs, kernel, recurrent = _tensors(
        features, units, rows, timesteps, dtype
    )

    @tf.function
    def run():
        flat = tf.reshape(inputs, [-1, features])
        projected = tf.matmul(flat, kernel)
        state = tf.zeros((rows, units), dtype)
        for _ in tf.range(timesteps):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            state = tf.matmul(state, recurrent)[:, :units]
        return tf.reduce_sum(state), projected[0, 0]

    return run


def _lstm(features, units, rows, timesteps, dtype):
    inputs, kernel, recurrent = _tensors(
        features, units, rows, timesteps, dtype
    )
    state = tf.zeros((rows, units))
    mask = tf.ones((rows, timesteps), tf.bool)

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


def _tensors(features, units, rows, timesteps, dtype):
    shapes = (
        (rows, timesteps, features),
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
