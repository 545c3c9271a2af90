"""One LSTM layer: the project's kernel, and Keras' own loop."""

import time

import keras
import tensorflow as tf

from ulmfit_tf.layers.lstm_kernel import lstm_sequence


def forward_and_backward(batch, timesteps, features, units, variant):
    """Returns a function that measures tokens a second.

    Args:
        batch: Int.
        timesteps: Int.
        features: Int.
        units: Int.
        variant: `"keras"`, or the dtype of the kernel's products.
    """
    layer = keras.layers.LSTM(units, return_sequences=True)
    layer.build((None, None, features))
    weights = [variable.value for variable in layer.trainable_variables]
    inputs = tf.random.stateless_normal((batch, timesteps, features), [0, 1])
    zeros = tf.zeros((batch, units))

    def run(inputs):
        if variant == "keras":
            return layer(inputs)
        inputs = tf.cast(inputs, variant)
        return lstm_sequence(inputs, zeros, zeros, *weights)[0]

    @tf.function
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.cast(run(inputs), tf.float32)
            loss = tf.reduce_mean(tf.square(outputs))
        return tape.gradient(loss, [inputs, *weights])

    def measure():
        started = time.perf_counter()
        step(inputs)[0].numpy()
        return batch * timesteps / (time.perf_counter() - started)

    return measure
