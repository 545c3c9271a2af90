"""Cross-entropy of a large softmax on TensorFlow, without all its logits."""

import tensorflow as tf

# Positions whose logits are formed at a time: with 30,000 words 15 MB, which
# a processor's cache holds.
_BLOCK = 128


def softmax_loss(hidden, targets, embeddings, bias):
    """Returns the cross-entropy of each position, in nats.

    `logits = hidden @ embeddings^T + bias` are formed for some positions at
    a time and turned into their gradient at once, the only thing that is
    kept of them, in the dtype of `hidden`. Products run in that dtype, all
    else in float32.

    Args:
        hidden: Float tensor `(positions, units)`.
        targets: Int32 tensor `(positions,)`.
        embeddings: Float tensor `(vocabulary_size, units)`.
        bias: Float tensor `(vocabulary_size,)`.

    Returns:
        Float32 tensor `(positions,)`.
    """
    dtype = hidden.dtype

    @tf.custom_gradient
    def run(hidden, embeddings, bias):
        losses, d_logits = _losses_and_gradients(
            hidden, targets, embeddings, bias
        )

        def gradient(d_losses):
            # Each row of `d_logits` waits to be scaled: so is what it is
            # multiplied with. A last column makes the bias' gradient.
            scale = d_losses[:, None]
            factor = tf.pad(
                tf.cast(hidden, tf.float32),
                [[0, 0], [0, 1]],
                constant_values=1.0,
            )
            factor = tf.cast(factor * scale, dtype)
            d_rows = tf.matmul(d_logits, factor, transpose_a=True)
            d_hidden = tf.matmul(d_logits, embeddings)
            return (
                tf.cast(tf.cast(d_hidden, tf.float32) * scale, dtype),
                d_rows[:, :-1],
                tf.cast(d_rows[:, -1], tf.float32),
            )

        return losses, gradient

    return run(hidden, tf.cast(embeddings, dtype), tf.cast(bias, tf.float32))


def evaluated_softmax_loss(hidden, targets, embeddings, bias):
    """Returns what `softmax_loss` does, where no gradient is needed.

    Nothing as large as the vocabulary is kept for a position.
    """
    embeddings = tf.cast(embeddings, hidden.dtype)
    bias = tf.cast(bias, tf.float32)
    blocks = (tf.shape(hidden)[0] + _BLOCK - 1) // _BLOCK

    def step(block, losses):
        results = _block(block, hidden, targets, embeddings, bias)
        return block + 1, losses.write(block, results.loss)

    losses = tf.TensorArray(
        tf.float32, size=blocks, element_shape=[None], infer_shape=False
    )
    _, losses = tf.while_loop(
        lambda block, _: block < blocks,
        step,
        (0, losses),
        parallel_iterations=1,
    )
    return losses.concat()


def _block(block, hidden, targets, embeddings, bias):
    """Returns losses and the logits' gradients of a block of positions."""
    rows = slice(block * _BLOCK, (block + 1) * _BLOCK)
    if hidden.dtype == tf.float32:
        # Few rows times a transposed matrix is slow on processors without
        # AVX-512: each block would lay it out anew. The other way round, it
        # is the small factor that is transposed, and then the product.
        logits = tf.transpose(
            tf.matmul(embeddings, hidden[rows], transpose_b=True)
        )
    else:
        logits = tf.matmul(hidden[rows], embeddings, transpose_b=True)
    return tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
        features=tf.cast(logits, tf.float32) + bias, labels=targets[rows]
    )


def _losses_and_gradients(hidden, targets, embeddings, bias):
    count = tf.shape(hidden)[0]
    blocks = (count + _BLOCK - 1) // _BLOCK

    def step(block, losses, d_logits):
        results = _block(block, hidden, targets, embeddings, bias)
        return (
            block + 1,
            losses.write(block, results.loss),
            d_logits.write(block, tf.cast(results.backprop, hidden.dtype)),
        )

    def array(dtype, *shape):
        # The last block may be a short one.
        return tf.TensorArray(
            dtype,
            size=blocks,
            element_shape=[None, *shape],
            infer_shape=False,
        )

    _, losses, d_logits = tf.while_loop(
        lambda block, *_: block < blocks,
        step,
        (0, array(tf.float32), array(hidden.dtype, embeddings.shape[0])),
        # One block at a time, so that it stays in the cache.
        parallel_iterations=1,
    )
    return losses.concat(), d_logits.concat()
