"""Forward and backward classifiers as one."""

import keras


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class BidirectionalPair(keras.Model):
    """Averages the probabilities of classifiers that read either way.

    Howard & Ruder (2018), section 3.3: a forward and a backward classifier
    are fine-tuned independently and their predictions averaged.

    Args:
        classifiers: Dict of `TextClassifier`s by direction, `"forward"`,
            `"backward"` or both.
        activation: What makes probabilities of logits: `"softmax"` for one
            label a text, `"sigmoid"` for any number of them.

    Call arguments:
        token_ids: Dict of int tensors `(batch, timesteps)` by direction, as
            laid out by `ulmfit_tf.data.chunk_documents`; those of the
            backward classifier from reversed documents.
        training: Bool.

    Output shape:
        `(batch, num_classes)` probabilities.

    Raises:
        ValueError: If `classifiers` has none or other keys, or there is no
            such `activation`.
    """

    def __init__(self, classifiers, activation="softmax", **kwargs):
        kwargs.setdefault("name", "bidirectional_pair")
        super().__init__(**kwargs)
        unknown = set(classifiers) - {"forward", "backward"}
        if unknown or not classifiers:
            raise ValueError(
                "`classifiers` must have the keys 'forward', 'backward' or "
                f"both. Received: {sorted(classifiers)}."
            )
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(
                "`activation` must be 'softmax' or 'sigmoid'. Received: "
                f"{activation!r}."
            )
        self.classifiers = classifiers
        self.num_classes = next(iter(classifiers.values())).num_classes
        self.activation = keras.activations.get(activation)

    def build(self, input_shape=None):
        for classifier in self.classifiers.values():
            if not classifier.built:
                classifier.build()
        self.built = True

    def call(self, token_ids, training=False):
        return self.average(
            {
                direction: classifier(token_ids[direction], training=training)
                for direction, classifier in self.classifiers.items()
            }
        )

    def average(self, logits):
        """Returns the mean probabilities, `(batch, num_classes)`.

        Args:
            logits: Dict of float tensors `(batch, num_classes)` by direction.
        """
        return sum(map(self.activation, logits.values())) / len(logits)

    def get_config(self):
        return {
            **super().get_config(),
            "classifiers": {
                direction: keras.saving.serialize_keras_object(classifier)
                for direction, classifier in self.classifiers.items()
            },
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config):
        classifiers = {
            direction: keras.saving.deserialize_keras_object(classifier)
            for direction, classifier in config["classifiers"].items()
        }
        return cls(**{**config, "classifiers": classifiers})
