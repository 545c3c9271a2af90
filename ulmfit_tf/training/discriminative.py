"""Discriminative fine-tuning: a learning rate for each group of layers."""

import keras
from keras import ops


def discriminative_rates(learning_rate, num_groups, decay_factor=2.6):
    """Returns one rate a group, from the input up.

    The last group has `learning_rate`; each group below has that of the one
    above divided by `decay_factor` (Howard & Ruder, 2018, section 3.2).

    Args:
        learning_rate: Float, rate of the last group.
        num_groups: Int.
        decay_factor: Float above 0; 1 gives all groups the same rate.

    Returns:
        List of `num_groups` floats.

    Raises:
        ValueError: If `decay_factor` is not positive.
    """
    if decay_factor <= 0:
        raise ValueError(
            "`decay_factor` must be positive: a group's rate is the next "
            "one's divided by it (Howard & Ruder use 2.6; 1 gives all groups "
            f"the same rate). Received: decay_factor={decay_factor}."
        )
    return [
        learning_rate / decay_factor ** (num_groups - 1 - index)
        for index in range(num_groups)
    ]


class DiscriminativeOptimizer(keras.optimizers.MultiOptimizer):
    """Trains each group of layers with an optimizer of its own.

    On top of `keras.optimizers.MultiOptimizer` it checks that the groups
    cover all variables, clips the norm over all gradients *together*, and
    accepts steps in which whole groups are frozen. A frozen group's optimizer
    does not count such a step: its schedule and moments begin when the group
    is first trained, as if its optimizer were made then.

    Args:
        model: Built model to train, with nothing frozen yet.
        layer_groups: List of lists of layers that together hold every
            trainable variable of `model` exactly once.
        optimizers: List with an optimizer for each group.
        global_clipnorm: Optional float, the largest norm that all gradients
            together may have.

    Raises:
        ValueError: If a variable belongs to no group or to several, or
            groups and optimizers differ in number.
    """

    def __init__(
        self, model, layer_groups, optimizers, global_clipnorm=None, name=None
    ):
        if len(layer_groups) != len(optimizers):
            raise ValueError(
                "Each group of layers needs one optimizer. Received: "
                f"{len(layer_groups)} groups, {len(optimizers)} optimizers."
            )
        group_of = {}
        for index, layers in enumerate(layer_groups):
            for variable in _trainable(layers):
                if id(variable) in group_of:
                    raise ValueError(
                        "Each variable must be in one layer group. "
                        f"`{variable.path}` is in several."
                    )
                group_of[id(variable)] = index
        everything = _trainable([model])
        missing = [v.path for v in everything if id(v) not in group_of]
        if missing:
            raise ValueError(
                "The layer groups must hold every trainable variable. "
                f"Missing: {', '.join(missing)}."
            )
        super().__init__(lambda v: optimizers[group_of[id(v)]], name=name)
        self.global_norm_limit = global_clipnorm
        self.build(everything)

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is None:
            trainable_variables = self._trainable_variables
        pairs = [
            (_dense(grad), variable)
            for grad, variable in zip(grads, trainable_variables, strict=True)
            if grad is not None
        ]
        grads = self._clip_together([grad for grad, _ in pairs])
        by_optimizer = [([], []) for _ in self.optimizers]
        for grad, (_, variable) in zip(grads, pairs, strict=True):
            index = self._var_to_optimizer_idx[self._var_key(variable)]
            by_optimizer[index][0].append(grad)
            by_optimizer[index][1].append(variable)
        for optimizer, (grads, variables) in zip(
            self.optimizers, by_optimizer, strict=True
        ):
            if grads:
                optimizer.apply(grads, variables)
        self._iterations.assign_add(1)

    def _clip_together(self, grads):
        if self.global_norm_limit is None:
            return grads
        grads, num_replicas = _sum_over_replicas(grads)
        square = sum(ops.sum(ops.square(ops.cast(g, "float32"))) for g in grads)
        norm = ops.sqrt(square)
        limit = self.global_norm_limit
        scale = limit / ops.maximum(norm, limit)
        # The inner optimizers sum over replicas once more.
        scale /= num_replicas
        return [grad * ops.cast(scale, grad.dtype) for grad in grads]

    def get_config(self):
        raise NotImplementedError(
            "`DiscriminativeOptimizer` refers to layers of a live model and "
            "has no configuration, so a model that is compiled with it "
            "cannot be saved whole. Save the weights, with "
            "`model.save_weights(path)` or `ModelCheckpoint(path, "
            "save_weights_only=True)`, and load them into a model made anew; "
            "or compile the model with another optimizer before `model.save`."
        )


def _trainable(layers):
    """Trainable variables of the layers, seeds left out."""
    return [
        variable
        for layer in layers
        for variable in layer.variables
        if variable.trainable
    ]


def _dense(grad):
    """Adds up what a word that occurs several times has for gradients.

    The norm is that of the sums, which Keras' operations do not form.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.convert_to_tensor(grad)
    import tensorflow as tf

    return tf.convert_to_tensor(grad)


def _sum_over_replicas(grads):
    """Returns gradients of the global batch and the number of replicas."""
    if keras.backend.backend() != "tensorflow":
        return grads, 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return grads, 1
    summed = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
    return summed, context.num_replicas_in_sync
