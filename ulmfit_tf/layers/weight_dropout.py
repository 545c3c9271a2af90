"""DropConnect: dropout of single weights."""

import keras
from keras import ops

# A byte of randomness a weight: rates are multiples of 1 / 256.
_STEPS = 256


def drop_weights(weights, rate, seed_generator):
    """Zeroes single weights and scales the rest, so that the mean stays.

    Merity et al. (2017), section 2. On TensorFlow a weight costs one random
    byte instead of a random number, so there `rate` is rounded to 1 / 256,
    and the scale follows the rounded rate. Elsewhere it is Keras' dropout.

    Args:
        weights: Float tensor.
        rate: Float in `[0, 1)`, the share that is zeroed.
        seed_generator: `keras.random.SeedGenerator`.

    Returns:
        Float tensor of the same shape and dtype.
    """
    dropped = round(rate * _STEPS)
    if keras.backend.backend() != "tensorflow" or dropped == _STEPS:
        return keras.random.dropout(weights, rate, seed=seed_generator)
    keep = _random_bytes(weights.shape, seed_generator) >= dropped
    # Arithmetic in bfloat16 is slower than casting there and back.
    scaled = ops.cast(weights, "float32") * (_STEPS / (_STEPS - dropped))
    return ops.cast(ops.where(keep, scaled, 0.0), weights.dtype)


def _random_bytes(shape, seed_generator):
    """Returns uniform uint8 of a static shape."""
    import tensorflow as tf

    count = shape.num_elements()
    words = tf.random.stateless_uniform(
        [-(-count // 4)],
        seed_generator.next(),
        minval=None,
        maxval=None,
        dtype=tf.uint32,
    )
    filled = tf.reshape(tf.bitcast(words, tf.uint8), [-1])
    return tf.reshape(filled[:count], shape)
