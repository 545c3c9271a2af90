"""Recipe of a language model: how it is pretrained and fine-tuned."""

import dataclasses

from trainers.command_line import UserError

AVERAGING = ("none", "nt-asgd", "exponential")
SCHEDULES = ("slanted", "stable", "cosine", "one-cycle")
# Above this many words the softmax is sampled, unless told otherwise.
_FULL_SOFTMAX_WORDS = 8192
_SAMPLE_SIZE = 2048
_MANY = 10**9


@dataclasses.dataclass(frozen=True)
class LanguageModelRecipe:
    """How a language model is trained.

    The defaults are those of fine-tuning on a task's text: rates, schedule,
    dropouts, weight decay, clipping and regularization of Howard & Ruder
    (2018) and of the authors' scripts. `vocabulary_size` is fastai v2's.

    Attributes:
        vocabulary_size: Words at most, beside those of a pretrained model.
        min_frequency: Occurrences that a word needs to enter the vocabulary.
        epochs: Passes over the text.
        max_steps: Optimizer steps at most; 0 for no limit but the epochs. With
            a stable schedule a resumed run may change it.
        batch_size: Streams read in parallel, over all replicas.
        learning_rate: Highest rate of the last layer group.
        decay_factor: A group's rate over that of the group below.
        schedule: A slanted triangle; a constant rate with a warm-up and a fall
            over the last fifth; a warm-up and a cosine; or fastai's one cycle.
        cut_frac: Fraction of steps in which a slanted triangle or a cosine
            rises.
        ratio: Highest rate over the lowest; not for one-cycle.
        averaging: Of the weights that are evaluated and exported: none, from
            the step where validation stops improving, or exponential.
        averaging_decay: Of exponential averaging.
        weight_decay: Decoupled.
        global_clipnorm: Norm that all gradients together may have.
        dropout_multiplier: Times the rates of the authors' scripts; by default
            in proportion to the size of the model.
        activation_l2: Weight of AR.
        temporal_l2: Weight of TAR.
        sample_size: Words of the sampled softmax; 0 for the full one; -1 for
            2,048 where the vocabulary has more than 8,192 words.
        windows: Varied lengths around 70 tokens, as in the AWD-LSTM, or equal
            ones of 70: a backend that compiles a step for each length needs
            those.
        steps_per_report: Epochs longer than this are reported, validated and
            saved in parts of about this many steps.
    """

    vocabulary_size: int = 60000
    min_frequency: int = 2
    epochs: int = 15
    max_steps: int = 0
    batch_size: int = 64
    learning_rate: float = 0.004
    decay_factor: float = 2.6
    schedule: str = "slanted"
    cut_frac: float = 0.1
    ratio: float = 32.0
    averaging: str = "none"
    averaging_decay: float = 0.999
    weight_decay: float = 1e-7
    global_clipnorm: float = 0.3
    dropout_multiplier: float = 1.0
    activation_l2: float = 2.0
    temporal_l2: float = 1.0
    sample_size: int = -1
    windows: str = "varied"
    steps_per_report: int = 500

    def __post_init__(self):
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UserError(
                    f"`--{name.replace('_', '-')}` must lie between {low} and "
                    f"{high}. Received: {value}."
                )
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UserError(
                    f"`--{name}` must be one of {', '.join(choices)}. "
                    f"Received: {value}."
                )

    def softmax_sample(self, vocabulary_size):
        """Returns the words of the sampled softmax, `None` for the full one.

        Args:
            vocabulary_size: Int, words of the model.
        """
        size = self.sample_size
        if size < 0:
            sampled = vocabulary_size > _FULL_SOFTMAX_WORDS
            size = _SAMPLE_SIZE if sampled else 0
        return size if 0 < size < vocabulary_size else None


CHOICES = {
    "schedule": SCHEDULES,
    "averaging": AVERAGING,
    "windows": ("varied", "equal"),
}
_RANGES = {
    "vocabulary_size": (16, _MANY),
    "min_frequency": (1, _MANY),
    "epochs": (1, _MANY),
    "max_steps": (0, _MANY),
    "batch_size": (1, 65536),
    "learning_rate": (0.0, 10.0),
    "decay_factor": (1e-3, 1e3),
    "cut_frac": (1e-6, 1 - 1e-6),
    "ratio": (1.0, 1e6),
    "averaging_decay": (0.0, 1 - 1e-9),
    "weight_decay": (0.0, 1.0),
    "global_clipnorm": (1e-6, 1e6),
    # The largest rate of fine-tuning is 0.25.
    "dropout_multiplier": (0.0, 3.9),
    "activation_l2": (0.0, 1e6),
    "temporal_l2": (0.0, 1e6),
    "sample_size": (-1, _MANY),
    "steps_per_report": (1, _MANY),
}


def dropout_for(architecture):
    """Returns what multiplies the dropouts for a model of other sizes.

    The scripts' are for the paper's sizes. A smaller model, which underfits
    with them, gets them in proportion to the weights of its LSTMs
    (`docs/results/README.md`); a larger one gets no more.

    Args:
        architecture: `models.Architecture`.
    """
    from ulmfit_tf.models import ARCHITECTURES

    papers = ARCHITECTURES["paper"].lstm_weights
    # Two digits, not decimals: however small the model, it drops some.
    return min(1.0, float(f"{architecture.lstm_weights / papers:.2g}"))


FINE_TUNING = LanguageModelRecipe()
# From scratch there is nothing to preserve in the lower layers, a higher rate
# learns more, up to one that large models bear, and a large corpus needs half
# the dropout (`docs/results/README.md`). fastai v2 asks for three occurrences.
PRETRAINING = LanguageModelRecipe(
    vocabulary_size=20000,
    min_frequency=3,
    epochs=1,
    learning_rate=0.005,
    decay_factor=1.0,
    dropout_multiplier=0.5,
)
