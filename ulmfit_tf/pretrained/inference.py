"""From documents of token ids to class probabilities, in graph operations."""

import tensorflow as tf

from ulmfit_tf.text import PADDING_ID

# Documents of a slice, and tokens of one step of reading it, at most: with
# the paper's 4 * 1152 gates, 4096 tokens are 75 MB.
_SLICE_DOCUMENTS = 64
_SEGMENT_TOKENS = 4096
# Below any hidden state, whose range is -1 to 1.
_LOWEST = -1e30


def document_probabilities(pair, documents):
    """Class probabilities of documents of any number and any lengths.

    Documents are sorted by length and read in slices; of a slice, those that
    have ended are left out of what remains to be read. So a short document
    hardly waits for the padding of a long one, and memory grows neither with
    the number of documents nor, but for their ids, with their lengths.

    Args:
        pair: `models.BidirectionalPair`.
        documents: Ragged int32 tensor `(batch, None)`, read forward.

    Returns:
        Float32 tensor `(batch, classes)`, in the order of `documents`.
    """
    lengths = tf.cast(documents.row_lengths(), tf.int32)
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    num_documents = tf.size(order)

    def compute_slice(start, results):
        indices = order[start : start + _SLICE_DOCUMENTS]
        chosen = tf.gather(documents, indices)
        logits = {
            direction: classifier.head(
                _pooled_states(
                    classifier,
                    chosen
                    if direction == "forward"
                    else tf.reverse(chosen, axis=[1]),
                )
            )
            for direction, classifier in pair.classifiers.items()
        }
        results = tf.tensor_scatter_nd_update(
            results, indices[:, None], pair.average(logits)
        )
        return start + _SLICE_DOCUMENTS, results

    _, results = tf.while_loop(
        lambda start, _: start < num_documents,
        compute_slice,
        (0, tf.zeros([num_documents, pair.num_classes])),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None, pair.num_classes]),
        ),
        # One slice at a time: memory does not grow with the request.
        parallel_iterations=1,
    )
    return results


def _pooled_states(classifier, documents):
    """What `TextClassifier` pools of documents, read with little padding.

    Without gradients to cut it does not matter where chunks begin. A segment
    ends where a quarter of the documents that are still read have ended.

    Args:
        classifier: `models.TextClassifier`.
        documents: Ragged int32 tensor `(rows, None)`, the longest first, in
            the order in which the classifier reads.

    Returns:
        Float32 tensor `(rows, 3 * units)`, as of `layers.ConcatPooling`.
    """
    lengths = tf.cast(documents.row_lengths(), tf.int32)
    first_pooled = tf.maximum(lengths - classifier.pooled_length, 0)
    first = tf.cast(documents.row_starts(), tf.int32)
    rows = tf.size(lengths)
    units = classifier.architecture.embedding_units
    states = [
        [tf.zeros([rows, lstm.units]), tf.zeros([rows, lstm.units])]
        for lstm in classifier.encoder.lstms
    ]

    def read_segment(start, states, total, largest):
        active = tf.reduce_sum(tf.cast(lengths > start, tf.int32))
        longest = tf.clip_by_value(
            _SEGMENT_TOKENS // active, 1, classifier.pooled_length
        )
        end = tf.minimum(lengths[active * 3 // 4], start + longest)
        positions = tf.range(start, end)
        is_token = positions < lengths[:active, None]
        # Only the segment is padded: the longest document may be far longer
        # than the others.
        places = tf.where(is_token, first[:active, None] + positions, 0)
        token_ids = tf.where(
            is_token, tf.gather(documents.values, places), PADDING_ID
        )
        hidden, new_states = classifier.encoder(
            token_ids,
            initial_states=[[part[:active] for part in s] for s in states],
        )
        hidden = tf.cast(hidden, tf.float32)
        pooled = is_token & (positions >= first_pooled[:active, None])
        sums = tf.reduce_sum(tf.where(pooled[:, :, None], hidden, 0.0), 1)
        peaks = tf.reduce_max(tf.where(pooled[:, :, None], hidden, _LOWEST), 1)

        def with_ended(new, old):
            return tf.concat([new, old[active:]], 0)

        return (
            end,
            tf.nest.map_structure(with_ended, new_states, states),
            with_ended(total[:active] + sums, total),
            with_ended(tf.maximum(largest[:active], peaks), largest),
        )

    _, states, total, largest = tf.while_loop(
        lambda start, *_: start < tf.reduce_max(lengths),
        read_segment,
        (
            0,
            states,
            tf.zeros([rows, units]),
            tf.fill([rows, units], _LOWEST),
        ),
        parallel_iterations=1,
    )
    # The state is held where a document has ended.
    last = states[-1][0]
    count = tf.maximum(lengths - first_pooled, 1)
    mean = total / tf.cast(count[:, None], tf.float32)
    return tf.concat([last, largest, mean], 1)
