"""Weights of an AWD-LSTM by name, as NumPy arrays."""

from keras import ops


def encoder_weights(encoder):
    """Returns the encoder's variables by their name in a weights file."""
    named = {"embedding": encoder.embedding.embeddings}
    for index, lstm in enumerate(encoder.lstms, start=1):
        cell = lstm.cell
        named[f"lstm_{index}/kernel"] = cell.kernel
        named[f"lstm_{index}/recurrent_kernel"] = cell.recurrent_kernel
        named[f"lstm_{index}/bias"] = cell.bias
    return named


def language_model_weights(model):
    """Returns a language model's variables by name in a weights file."""
    return {
        **encoder_weights(model.encoder),
        "decoder/bias": model.decoder.bias,
    }


def get_weights(variables):
    """Returns the values of named variables as NumPy arrays."""
    return {
        name: ops.convert_to_numpy(variable)
        for name, variable in variables.items()
    }


def set_weights(variables, arrays):
    """Assigns arrays to named variables.

    Args:
        variables: Dict of variables by name, all of which are assigned.
        arrays: Dict of arrays by name; may hold more.

    Raises:
        ValueError: If an array is missing or has another shape. Nothing is
            assigned then.
    """
    for name, variable in variables.items():
        if name not in arrays:
            raise ValueError(
                f"The weights lack `{name}`. Received: {sorted(arrays)}. They "
                "may be of a model with fewer layers."
            )
        if tuple(arrays[name].shape) != tuple(variable.shape):
            raise ValueError(
                f"`{name}` has shape {tuple(arrays[name].shape)} in the "
                f"weights and {tuple(variable.shape)} in the model. "
                "Architecture and vocabulary must be the same."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def classifier_weights(model):
    """Returns a classifier's variables by name in a weights file."""
    named = encoder_weights(model.encoder)
    for layer in model.head.layers:
        for variable in layer.weights:
            named[f"{layer.name}/{variable.name}"] = variable
    return named
