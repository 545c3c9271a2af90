"""Variables of which each replica has a value of its own."""

import keras
import numpy as np

# What Keras calls a seed generator's variable.
_SEEDS = "seed_generator_state"


def separate_seeds(model):
    """Gives each replica random numbers of its own.

    Keras starts the seeds of all replicas alike: a text would be dropped out
    like the one in its place on each other replica. A single device keeps its
    seeds.

    Args:
        model: Built model, made under a distribution strategy.
    """
    for variable in model.variables:
        if variable.name != _SEEDS or _copies(variable) is None:
            continue
        seeds = read_value(variable)
        # A seed is a number, and the count of what was drawn from it.
        seeds[:, 0] += np.arange(len(seeds), dtype=seeds.dtype)
        assign_value(variable, seeds)


def read_value(variable):
    """Returns a variable's value, or all of them where replicas differ."""
    copies = _copies(variable)
    if copies is None:
        return keras.ops.convert_to_numpy(variable)
    return np.stack([copy.numpy() for copy in copies])


def assign_value(variable, value):
    """Assigns what `read_value` returned."""
    copies = _copies(variable)
    if copies is None:
        variable.assign(value)
        return
    for copy, own in zip(copies, value, strict=True):
        copy.assign(own)


def _copies(variable):
    """The variables of single replicas, if each has its own value."""
    kind = variable.synchronization, variable.aggregation
    if kind != ("on_read", "none") and variable.name != _SEEDS:
        return None
    # TensorFlow's variable has this attribute under a distribution strategy.
    return getattr(variable.value, "values", None)
