"""Architectures and dropouts by name."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of an AWD-LSTM.

    Attributes:
        embedding_units: Width of the embedding and of the last LSTM layer,
            whose outputs the tied decoder multiplies with the embedding.
        hidden_units: Width of the other LSTM layers.
        num_layers: Number of LSTM layers.

    Raises:
        ValueError: If one is no positive integer.
    """

    embedding_units: int
    hidden_units: int
    num_layers: int = 3

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{field.name}` of an architecture must be a positive "
                    f"integer. Received: {value!r}."
                )

    @property
    def lstm_weights(self):
        """Int, weights of all kernels of the LSTM layers, without biases."""
        units = [self.hidden_units] * (self.num_layers - 1)
        units = [self.embedding_units, *units, self.embedding_units]
        return sum(
            4 * own * (below + own)
            for below, own in zip(units[:-1], units[1:], strict=True)
        )


ARCHITECTURES = {
    # Howard & Ruder (2018), section 4.1, with fastai's 1152 for 1150.
    "paper": Architecture(400, 1152),
    # Sized for CPU: a tenth of the paper's multiplications a token.
    "compact": Architecture(300, 512),
    # Learns more than `compact` in a quarter of an hour of a CPU core
    # (`docs/results/README.md`).
    "small": Architecture(300, 300, 2),
    # For trying things out in seconds; learns little.
    "tiny": Architecture(16, 24),
}


@dataclasses.dataclass(frozen=True)
class Dropouts:
    """Dropout rates of an AWD-LSTM, each in `[0, 1)`.

    Attributes:
        input_dropout: Variational, on the embedded words.
        embedding_dropout: On rows of the embedding matrix.
        weight_dropout: DropConnect on recurrent kernels.
        hidden_dropout: Variational, between LSTM layers.
        output_dropout: Variational, on the last layer's output; language
            models only.

    Raises:
        ValueError: If a rate lies out of its range.
    """

    input_dropout: float = 0.0
    embedding_dropout: float = 0.0
    weight_dropout: float = 0.0
    hidden_dropout: float = 0.0
    output_dropout: float = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < 1:
                raise ValueError(
                    f"`{field.name}` must lie in [0, 1). Received: {value}."
                )

    def scaled(self, multiplier):
        """Returns the rates times `multiplier`."""
        return Dropouts(
            **{
                name: rate * multiplier
                for name, rate in dataclasses.asdict(self).items()
            }
        )


# Rates of the authors' scripts, fine-tuning of the language model.
LANGUAGE_MODEL_DROPOUTS = Dropouts(0.25, 0.02, 0.2, 0.15, 0.1)
# Rates of the authors' scripts, the classifier's encoder.
CLASSIFIER_DROPOUTS = Dropouts(0.4, 0.05, 0.5, 0.3, 0.0)
