"""A trained classifier as the functions that TF Serving calls."""

import tensorflow as tf

from serving.stored_weights import StoredWeights
from ulmfit_tf.pretrained import document_probabilities
from ulmfit_tf.text import PADDING_ID

# tf.Example's feature that `classify` reads.
TEXT_FEATURE = "text"
# Positions of the `tokens` signature's answer at most, padding among them: a
# string takes 24 bytes, so 4M are 100 MB.
_MOST_TOKENS = 1 << 22


class ServedClassifier(tf.Module):
    """Text in, label out, in operations that TF Serving has.

    The Keras model stays in a closure; `StoredWeights` holds its variables.
    The LSTMs run on the project's own loop of core operations, so that
    nothing of cuDNN is exported.

    The number of documents in a request is not limited, see
    `ulmfit_tf.pretrained.document_probabilities`.

    Args:
        classifier: `ulmfit_tf.pretrained.TrainedClassifier`.
        precision: Str, see `StoredWeights`.
    """

    def __init__(self, classifier, precision="float32"):
        super().__init__(name="served_classifier")
        dtype = "bfloat16" if precision == "bfloat16" else "float32"
        pair = classifier.build(portable=True, dtype=dtype)
        self.tokenizer = classifier.tokenizer
        self.stored_weights = StoredWeights(pair.weights, precision)
        self._classes = tuple(classifier.classes)
        self._label_strings = classifier.decision.label_strings
        self._document_probabilities = lambda documents: document_probabilities(
            pair, documents
        )
        self._tokenize = _shared(self.tokenizer.__call__)
        self._probabilities = _shared(self._text_probabilities)

    def signatures(self):
        """Returns the concrete functions by signature name."""
        texts = tf.TensorSpec([None], tf.string, name="text")
        examples = tf.TensorSpec([None], tf.string, name="inputs")
        return {
            "serving_default": _concrete(self._predict, texts),
            "classify": _concrete(self._classify, examples),
            "tokens": _concrete(self._tokens, texts),
        }

    def _predict(self, text):
        probabilities = self._probabilities(text)
        return {
            "label": self._label_strings(probabilities, self._classes),
            "probabilities": probabilities,
            "classes": self._class_names(text),
        }

    def _classify(self, inputs):
        features = tf.io.parse_example(
            inputs, {TEXT_FEATURE: tf.io.FixedLenFeature([], tf.string)}
        )
        text = features[TEXT_FEATURE]
        return {
            "classes": self._class_names(text),
            "scores": self._probabilities(text),
        }

    def _tokens(self, text):
        ids = self._tokenize(text)
        lengths = ids.row_lengths()
        longest = tf.reduce_max(tf.concat([lengths, [0]], 0))
        fits = tf.debugging.assert_less_equal(
            tf.size(lengths, tf.int64) * longest,
            tf.constant(_MOST_TOKENS, tf.int64),
            "The tokens of all texts, padded to the longest, are too many. "
            "Send fewer or shorter texts.",
        )
        with tf.control_dependencies([fits]):
            return {
                "tokens": self.tokenizer.tokenize(text).to_tensor(""),
                "token_ids": ids.to_tensor(PADDING_ID),
                "lengths": tf.cast(lengths, tf.int32),
            }

    def _class_names(self, text):
        return tf.tile(tf.constant([self._classes]), [tf.size(text), 1])

    def _text_probabilities(self, text):
        """Class probabilities `(batch, classes)`."""
        with self.stored_weights.used(self.stored_weights.tensors()):
            return self._document_probabilities(self._tokenize(text))


def _shared(function):
    """Makes all signatures use one graph of a function of texts.

    The function is hidden in a closure: as an attribute of the module it
    would be exported a second time, under a name of its own.
    """
    traced = tf.function(
        function, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    return lambda text: traced(text)


def _concrete(function, spec):
    return tf.function(function, input_signature=[spec]).get_concrete_function()
