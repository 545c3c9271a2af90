"""Forward and backward pass of one LSTM layer: the kernel beside Keras' loop.

python -m benchmarks.lstm_layer
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

from ulmfit_tf.layers.lstm_kernel import lstm_sequence


def main():
    """Prints the median seconds of each variant, measured in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--timesteps", type=int, default=70)
    parser.add_argument("--features", type=int, default=400)
    parser.add_argument("--units", type=int, default=1152)
    parser.add_argument("--repeats", type=int, default=9)
    sizes = parser.parse_args()
    layer = keras.layers.LSTM(sizes.units, return_sequences=True)
    layer.build((None, None, sizes.features))
    weights = [variable.value for variable in layer.trainable_variables]
    shape = (sizes.batch, sizes.timesteps, sizes.features)
    inputs = tf.random.stateless_normal(shape, [0, 1])
    zeros = tf.zeros((sizes.batch, sizes.units))

    def kernel(dtype):
        def run(inputs):
            inputs = tf.cast(inputs, dtype)
            outputs, _, _ = lstm_sequence(inputs, zeros, zeros, *weights)
            return tf.cast(outputs, tf.float32)

        return run

    variants = {
        "keras.layers.LSTM float32": layer,
        "kernel float32": kernel(tf.float32),
        "kernel bfloat16": kernel(tf.bfloat16),
    }
    steps = {name: _training_step(v, weights) for name, v in variants.items()}
    seconds = {name: [] for name in steps}
    for repeat in range(sizes.repeats + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step(inputs)[0].numpy()
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    for name, values in seconds.items():
        low, median, high = np.percentile(values, [0, 50, 100])
        print(f"{name:28} {median:.3f} s ({low:.3f} to {high:.3f})")


def _training_step(run, weights):
    @tf.function
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_mean(tf.square(run(inputs)))
        return tape.gradient(loss, [inputs, *weights])

    return step


if __name__ == "__main__":
    main()
