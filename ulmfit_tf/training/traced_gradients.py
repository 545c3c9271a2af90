"""Lets go of the graphs that custom gradients were traced in."""

import keras


class TracedGradients:
    """What TensorFlow has registered since this object was made.

    For each trace of a `tf.custom_gradient`, such as the LSTM's and that of
    batch norm's sums over replicas, TensorFlow registers a function for good,
    and with it the graph of a training function, of which gradual unfreezing
    makes five. A training function that was traced has its gradients in it, and
    does not need what is registered any more.
    """

    def __init__(self):
        self._before = set(_registry())

    def forget(self):
        """Unregisters it. Call this where no function is being traced."""
        registry = _registry()
        for name in set(registry) - self._before:
            if name.startswith("CustomGradient-"):
                del registry[name]


def _registry():
    """Returns TensorFlow's gradient functions by name.

    They are not public: where they are not found memory grows, and nothing
    else is wrong.
    """
    if keras.backend.backend() != "tensorflow":
        return {}
    from tensorflow.python.framework import ops

    return getattr(ops.gradient_registry, "_registry", {})
