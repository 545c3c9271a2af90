"""Documents laid out in chunks, and batches of documents of like length."""

import numpy as np
import tensorflow as tf

from ulmfit_tf.text import PADDING_ID

CHUNK_LENGTH = 70


def chunk_documents(documents, chunk_length=CHUNK_LENGTH):
    """Lays token ids out for `TextClassifier`: chunks, ends aligned.

    Chunks are counted from a document's end, as its last tokens are the ones
    that are pooled. Its first chunk may be short and is padded on the right,
    as cuDNN wants it; chunks of padding come before. The first slot is as
    wide as the longest document's first chunk, the others are whole. So a
    batch is as wide as its longest document, and the layout of a document's
    own chunks does not depend on the others. Where a graph is compiled for
    its shapes (Keras on JAX), each width compiles anew: pad to a few widths
    there.

    Args:
        documents: Ragged int tensor `(batch, None)`.
        chunk_length: Int.

    Returns:
        Int32 tensor `(batch, timesteps)`, at least one timestep wide.
    """
    documents = tf.cast(documents, tf.int32)
    lengths = tf.cast(documents.row_lengths(), tf.int32)
    longest = tf.reduce_max(tf.concat([lengths, [1]], 0))
    # Where each document's tokens go if all slots are whole: the first, short
    # chunk from the start of its slot, the rest up to the end.
    missing = -longest % chunk_length
    gap = -lengths % chunk_length
    start = longest + missing - (lengths + gap)
    first_length = chunk_length - gap
    rows = tf.cast(documents.value_rowids(), tf.int32)
    index = tf.range(tf.size(rows)) - tf.cast(
        tf.gather(documents.row_starts(), rows), tf.int32
    )
    shift = tf.where(
        index < tf.gather(first_length, rows), 0, tf.gather(gap, rows)
    )
    column = tf.gather(start, rows) + index + shift
    # The end of the first slot is empty.
    column -= tf.where(column < chunk_length, 0, missing)
    return tf.tensor_scatter_nd_update(
        tf.fill([tf.size(lengths), longest], PADDING_ID),
        tf.stack([rows, column], axis=1),
        documents.flat_values,
    )


class DocumentBatches:
    """Batches of documents of like length, shuffled anew each epoch.

    An epoch's documents are shuffled and sorted by length within pools of 50
    batches; the batches are then shuffled. Everything is determined by `seed`
    and the step, so training can be resumed anywhere.

    Args:
        corpus: `TokenizedCorpus`, each document of at least one token.
        labels: Float array `(documents, classes)`.
        batch_size: Int, documents of a batch at most, unless there are more
            replicas.
        backward: Bool, whether documents are read from their end.
        chunk_length: Int, see `chunk_documents`.
        seed: Int.
        document_weights: Optional float array `(documents,)`.
        num_replicas: Int; every batch holds a multiple of it, so that all
            replicas have the same number of documents. The batches of an
            epoch differ by one document a replica at most, and up to
            `num_replicas - 1` documents are left out of it.

    Raises:
        ValueError: If there are fewer documents than replicas.
    """

    POOL = 50

    def __init__(
        self,
        corpus,
        labels,
        batch_size,
        backward=False,
        chunk_length=CHUNK_LENGTH,
        seed=0,
        document_weights=None,
        num_replicas=1,
    ):
        self.corpus = corpus
        self.labels = labels
        self.batch_size = batch_size
        self.backward = backward
        self.chunk_length = chunk_length
        self.seed = seed
        self.document_weights = (
            np.ones(len(corpus), "float32")
            if document_weights is None
            else document_weights
        )
        self.num_replicas = num_replicas
        units = len(corpus) // num_replicas
        if units < 1:
            raise ValueError(
                "Every replica needs a document in each batch. Received: "
                f"{len(corpus)} documents for {num_replicas} replicas."
            )
        self._units_per_batch = max(1, batch_size // num_replicas)
        self.steps_per_epoch = -(-units // self._units_per_batch)

    def _epoch(self, epoch):
        """Returns the epoch's batches as a list of arrays of indices."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.corpus))
        units = len(order) // self.num_replicas
        order = order[: units * self.num_replicas]
        lengths = self.corpus.lengths
        pool = self.POOL * self._units_per_batch * self.num_replicas
        order = np.concatenate(
            [
                part[np.argsort(-lengths[part], kind="stable")]
                for part in np.split(order, range(pool, len(order), pool))
            ]
        )
        groups = np.array_split(
            order.reshape(-1, self.num_replicas), self.steps_per_epoch
        )
        return [groups[i].ravel() for i in rng.permutation(len(groups))]

    def _batches(self, first_step):
        epoch, first = divmod(first_step, self.steps_per_epoch)
        while True:
            for indices in self._epoch(epoch)[first:]:
                documents = [self.corpus[i] for i in indices]
                if self.backward:
                    documents = [ids[::-1] for ids in documents]
                yield (
                    np.concatenate(documents).astype("int32"),
                    np.array([len(ids) for ids in documents], "int64"),
                    self.labels[indices].astype("float32"),
                    self.document_weights[indices].astype("float32"),
                )
            epoch, first = epoch + 1, 0

    def dataset(self, first_step=0):
        """Returns an endless `tf.data.Dataset` from a global step on.

        Its elements are `(token_ids, labels, weights)` of shapes `(batch,
        timesteps)`, `(batch, classes)` and `(batch,)`.
        """
        dataset = tf.data.Dataset.from_generator(
            lambda: self._batches(first_step),
            output_signature=(
                tf.TensorSpec((None,), tf.int32),
                tf.TensorSpec((None,), tf.int64),
                tf.TensorSpec((None, self.labels.shape[1]), tf.float32),
                tf.TensorSpec((None,), tf.float32),
            ),
        )

        def lay_out(ids, lengths, labels, weights):
            documents = tf.RaggedTensor.from_row_lengths(ids, lengths)
            return (
                chunk_documents(documents, self.chunk_length),
                labels,
                weights,
            )

        return dataset.map(lay_out).prefetch(8)


def documents_in_length_order(
    corpus,
    labels,
    batch_size,
    backward=False,
    chunk_length=CHUNK_LENGTH,
    num_replicas=1,
    document_weights=None,
):
    """Returns each document once, the longest first, for evaluation.

    Args:
        corpus: `TokenizedCorpus`.
        labels: Float array `(documents, classes)`.
        batch_size: Int, documents of a batch at most.
        backward: Bool, whether documents are read from their end.
        chunk_length: Int, see `chunk_documents`.
        num_replicas: Int; every batch but the last holds a multiple of it,
            or one document where a batch has fewer than there are replicas.
        document_weights: Optional float array `(documents,)`.

    Returns:
        A finite `tf.data.Dataset` of `(token_ids, labels)`, or of `(token_ids,
        labels, weights)` where there are weights.
    """
    order = np.argsort(-corpus.lengths, kind="stable")
    ordered = corpus.select(order)
    # Keras learns the shapes from the first batch and then needs all replicas
    # to have the same number of documents.
    batch_size = min(batch_size, len(corpus)) // num_replicas * num_replicas
    batch_size = max(batch_size, 1)
    others = (
        [labels] if document_weights is None else [labels, document_weights]
    )
    dataset = tf.data.Dataset.from_tensor_slices(
        (
            tf.RaggedTensor.from_row_splits(ordered.token_ids, ordered.offsets),
            *(array[order].astype("float32") for array in others),
        )
    )

    def lay_out(documents, *others):
        if backward:
            documents = tf.reverse(documents, axis=[1])
        return chunk_documents(documents, chunk_length), *others

    return dataset.ragged_batch(batch_size).map(lay_out).prefetch(8)
