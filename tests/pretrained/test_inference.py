"""Documents of mixed lengths are answered as each alone, and as in training."""

import resource

import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf import models
from ulmfit_tf.data.chunks import chunk_documents
from ulmfit_tf.pretrained import document_probabilities, inference

CHUNK, POOLED = 4, 12


@pytest.fixture(scope="module")
def pair():
    pair = models.BidirectionalPair(
        {
            direction: models.TextClassifier(
                30,
                3,
                models.Architecture(6, 8, 2),
                chunk_length=CHUNK,
                pooled_length=POOLED,
            )
            for direction in ("forward", "backward")
        }
    )
    pair.build()
    # Far enough apart that documents differ in their answers.
    for classifier in pair.classifiers.values():
        embeddings = classifier.encoder.embedding.embeddings
        embeddings.assign(embeddings * 20)
    return pair


def random_documents(lengths, seed=0):
    rng = np.random.default_rng(seed)
    ids = [rng.integers(9, 30, length).tolist() for length in lengths]
    return tf.ragged.constant(ids, dtype=tf.int32, ragged_rank=1)


def in_chunks(pair, document):
    """The model's own way, which training takes."""
    laid_out = {
        "forward": chunk_documents(document, CHUNK),
        "backward": chunk_documents(tf.reverse(document, axis=[1]), CHUNK),
    }
    return pair({key: laid_out[key] for key in pair.classifiers}).numpy()


# Shorter than a chunk, pooled whole, with a beginning that is not pooled;
# more than fit in a slice.
@pytest.mark.parametrize("segment_tokens", [1, 20, 4096])
def test_mixed_lengths_equal_each_document_alone(
    pair, monkeypatch, segment_tokens
):
    monkeypatch.setattr(inference, "_SEGMENT_TOKENS", segment_tokens)
    monkeypatch.setattr(inference, "_SLICE_DOCUMENTS", 8)
    lengths = [1, 12, 5, 40, 3, 13, 12, 4, 29, 2, 11, 1, 17]
    documents = random_documents(lengths)
    expected = [
        in_chunks(pair, documents[i : i + 1])[0] for i in range(len(lengths))
    ]
    assert np.ptp(expected, axis=0).min() > 1e-3
    got = tf.function(lambda ragged: document_probabilities(pair, ragged))(
        documents
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_no_documents(pair):
    none = tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int32), [0])
    assert document_probabilities(pair, none).shape == (0, 3)


def test_documents_that_have_ended_are_not_read(pair, monkeypatch):
    """The padding that is computed is a fraction of the whole rectangle."""
    computed = []
    encoder = pair.classifiers["forward"].encoder
    original = type(encoder).call

    def call(self, token_ids, **kwargs):
        if self is encoder:
            computed.append(int(tf.size(token_ids)))
        return original(self, token_ids, **kwargs)

    monkeypatch.setattr(type(encoder), "call", call)
    lengths = [100, *[5] * 30]
    document_probabilities(pair, random_documents(lengths))
    assert sum(lengths) <= sum(computed) < 1.2 * sum(lengths)


def test_a_long_document_is_not_padded_for_its_neighbours(pair, monkeypatch):
    """64 documents as long as this one would take a gigabyte."""
    length = 1 << 22

    def fast(self, token_ids, **kwargs):
        hidden = tf.zeros([*token_ids.shape, self.lstms[-1].units])
        return hidden, kwargs["initial_states"]

    for classifier in pair.classifiers.values():
        monkeypatch.setattr(type(classifier.encoder), "call", fast)
        monkeypatch.setattr(classifier, "pooled_length", length)
    monkeypatch.setattr(inference, "_SEGMENT_TOKENS", 1 << 18)
    splits = [0, *range(length, length + 64)]
    documents = tf.RaggedTensor.from_row_splits(
        tf.fill([splits[-1]], 9), splits
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert document_probabilities(pair, documents).shape == (64, 3)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < 1 << 29
