"""Trained classifiers: what a run leaves behind and an export begins with."""

import contextlib
import dataclasses
import functools
import logging
import reprlib
import time

import numpy as np
import tensorflow as tf

from ulmfit_tf import models
from ulmfit_tf.data.task_type import TaskType
from ulmfit_tf.data.token_cache import tokenize_corpus
from ulmfit_tf.pretrained.decision import Decision
from ulmfit_tf.pretrained.directories import read_model, write_model
from ulmfit_tf.pretrained.inference import document_probabilities

logger = logging.getLogger(__name__)

_FORMAT = "ulmfit_tf.classifier"
# Version 1 knew one label a text only.
_VERSION = 2
# Between two lines that say how far a long reading is.
_TELL_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
    """A classifier from raw text to class probabilities.

    Attributes:
        classes: Class names; index `i` is column `i` of the probabilities.
        tokenizer: Tokenizer of both directions.
        settings: Dict of `models.TextClassifier` arguments: `architecture`,
            `head_units`, `chunk_length`, `pooled_length`.
        weights: Dict by direction of dicts of float32 arrays, names as in
            `models.classifier_weights`.
        information: Dict, JSON-serializable: figures of the run and
            whatever else is worth keeping.
        decision: `Decision`, how probabilities become labels; by default
            the likeliest class.
    """

    classes: tuple
    tokenizer: object
    settings: dict
    weights: dict
    information: dict = dataclasses.field(default_factory=dict)
    decision: Decision | None = None

    def __post_init__(self):
        if self.decision is None:
            likeliest = Decision.likeliest(len(self.classes))
            object.__setattr__(self, "decision", likeliest)

    def __getstate__(self):
        # Traced functions can neither be pickled nor copied.
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name) for field in fields}

    def save_to_preset(self, directory):
        """Writes the classifier to a new directory, whole or not at all."""
        config = {
            "format": _FORMAT,
            "version": _VERSION,
            "classes": list(self.classes),
            "settings": self.settings,
            "information": self.information,
            "decision": self.decision.as_dict(),
        }
        arrays = {
            f"{direction}/{name}": array
            for direction, weights in self.weights.items()
            for name, array in weights.items()
        }
        write_model(directory, config, self.tokenizer, arrays)

    @classmethod
    def from_preset(cls, directory):
        """Loads a classifier that `save_to_preset` wrote.

        Raises:
            ValueError: If the directory holds something else, a newer format
                or a damaged file.
        """
        config, tokenizer, arrays = read_model(
            directory, _FORMAT, _VERSION, ("classes", "settings", "information")
        )
        weights = {}
        for key, array in arrays.items():
            direction, name = key.split("/", 1)
            weights.setdefault(direction, {})[name] = array
        return cls(
            tuple(config["classes"]),
            tokenizer,
            config["settings"],
            weights,
            config["information"],
            Decision.from_dict(config["decision"])
            if "decision" in config
            else None,
        )

    def build(self, portable=False, dtype="float32"):
        """Returns the inference model, a `models.BidirectionalPair`.

        Whatever it was trained in, it computes in float32 unless told
        otherwise. An answer is the same alone and in any batch, to 1e-6; in
        bfloat16, whose products round differently with the number of rows,
        to 1e-4.

        Args:
            portable: Bool, whether to use core TensorFlow operations alone,
                no cuDNN, on any machine.
            dtype: Str, of the encoder's weights and matrix products:
                `"float32"` or `"bfloat16"`. Gates, cell states, pooling and
                head are float32 in either case.
        """
        classifiers = {}
        for direction, weights in self.weights.items():
            classifier = models.TextClassifier(
                len(self.tokenizer.vocabulary),
                len(self.classes),
                **self.settings,
                dtype=dtype,
                name=f"{direction}_classifier",
            )
            if dtype != "float32":
                _keep_states_float32(classifier.encoder)
            classifier.build()
            models.set_weights(models.classifier_weights(classifier), weights)
            if portable:
                for lstm in classifier.encoder.lstms:
                    lstm.use_cpu_kernel = True
            classifiers[direction] = classifier
        pair = models.BidirectionalPair(
            classifiers, self.decision.task_type.activation
        )
        pair.build()
        return pair

    def predict(self, texts, batch_size=64, portable=False):
        """Returns class probabilities, float32 `(texts, classes)`.

        Documents are read in order of length, so that little padding is
        computed; the results are in the order of `texts`. The first call
        builds the model, which is kept for later calls.

        Args:
            texts: List of str.
            batch_size: Int, documents of a batch.
            portable: Bool, whether to compute as an export does on a CPU.

        Raises:
            ValueError: If `texts` is a single text.
        """
        if isinstance(texts, (str, bytes)):
            raise ValueError(
                "`texts` must be a list of str, one a text. Received: "
                f"{reprlib.repr(texts)}. For a single text, pass `[text]`."
            )
        corpus = tokenize_corpus(texts, self._tokenize)
        compute = self._compute_portably if portable else self._compute
        order = np.argsort(-corpus.lengths, kind="stable")
        results = np.zeros((len(corpus), len(self.classes)), "float32")
        told = time.monotonic()
        for start in range(0, len(order), batch_size):
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                # The longest come first, so the rest takes less time.
                logger.info("%d of %d texts are read", start, len(order))
            indices = order[start : start + batch_size]
            part = corpus.select(indices)
            ragged = tf.RaggedTensor.from_row_splits(
                part.token_ids, part.offsets
            )
            with tf.device("CPU:0") if portable else contextlib.nullcontext():
                results[indices] = compute(ragged)
        return results

    def labels(self, probabilities):
        """Returns the labels of texts by the classifier's `decision`.

        Args:
            probabilities: Float32 array `(texts, classes)`, as `predict`
                returns it.

        Returns:
            List of str, a class name of each text; of a multi-label
            classifier list of lists of str, empty ones for texts without any
            label.
        """
        names = np.array(self.classes, object)
        answers = self.decision.answers(probabilities)
        if self.decision.task_type is TaskType.MULTI_LABEL:
            return [names[is_label].tolist() for is_label in answers]
        return names[answers].tolist()

    # Properties, not fields: what `dataclasses.replace` returns has its own.
    @functools.cached_property
    def _tokenize(self):
        signature = [tf.TensorSpec([None], tf.string)]
        return tf.function(self.tokenizer, input_signature=signature)

    @functools.cached_property
    def _compute(self):
        return _traced(self.build())

    @functools.cached_property
    def _compute_portably(self):
        return _traced(self.build(portable=True))


def _traced(pair):
    """Returns a function from ragged token ids to probabilities."""
    signature = [tf.RaggedTensorSpec([None, None], tf.int32)]
    return tf.function(
        functools.partial(document_probabilities, pair),
        input_signature=signature,
    )


def _keep_states_float32(encoder):
    """Has Keras not round states that are handed from call to call."""
    for layer in (encoder, *encoder.lstms):
        layer.autocast = False
