"""Recipes: how each data set is trained, and where the figures come from."""

import dataclasses
import logging
import math
from typing import Any

from trainers.command_line import UserError
from trainers.language_model_recipe import (
    FINE_TUNING,
    SCHEDULES,
    dropout_for,
)

_log = logging.getLogger("trainers")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The three-stage method as plain figures; flags override single ones.

    Rates, dropouts and schedules follow Howard & Ruder (2018) or, where the
    paper is silent, the authors' scripts. The project's own choices, made on
    validation splits, are the numbers of epochs, `min_frequency` (a small
    task has few words often) and `FROM_SCRATCH`.

    Attributes:
        vocabulary_size: Words at most, beside those of a pretrained model.
        min_frequency: Occurrences that a word needs to enter the vocabulary.
        language_model_epochs: Of stage two, fine-tuning the language model; 0
            leaves it out.
        language_model_steps: Optimizer steps of stage two at most; 0 for no
            limit.
        language_model_rate: Highest rate of stage two.
        language_model_batch_size: Streams in parallel.
        language_model_decay_factor: Of stage two's discriminative rates; 0
            for that of stage three. Without a pretrained model it is 1.
        language_model_ratio: Of stage two's slanted triangle; 1 for a
            constant rate.
        language_model_dropout: Multiplies the script's dropouts; unless
            given, in proportion to the size of a pretrained model smaller
            than the paper's.
        epochs: Of stage three, the classifier.
        learning_rate: Highest rate of stage three, of the head.
        batch_size: Documents of a batch in stage three (the scripts' 32; the
            paper has 64).
        dropout: Multiplies the script's dropouts, the head's included.
        encoder_dropout: Multiplies the encoder's once more, not the head's;
            unless given, in proportion to a pretrained model's size as well.
        decay_factor: Rate of a layer over that of the one below.
        lower_learning_rate: Highest rate of all groups below the head, in
            place of what `decay_factor` gives them; 0 for the latter.
        unfreezing: Order in which layers are trained: paper (from the head
            down, one more each epoch), script (the head, the last two, then
            all), chain-thaw (one after another, then all), full (all) or last
            (the head).
        schedule: Of stage three's rates: slanted triangles, a constant rate
            with a warm-up and a fall, a cosine, or fastai's one cycle.
        cut_frac: Share of the steps in which stage three's rates rise; not
            for one-cycle.
        ratio: Highest over lowest rate of stage three; not for one-cycle; 1
            makes a slanted triangle a constant rate.
        activation_l2: Weight of AR in stage three.
        temporal_l2: Weight of TAR in stage three.
        weight_decay: Of stage three, decoupled.
        global_clipnorm: Norm of stage three's gradients at most.
        label_smoothing: Share of a label that is spread over all classes, in
            `[0, 1)`.
        class_weights: Of the loss: none, or the inverse of a class'
            frequency.
        early_stopping: Epochs without a better validation loss after which
            to stop and take the best epoch; 0 trains all epochs and takes
            the last.
        head_units: Width of the head's first block.
        pooled_length: Last tokens of a document that are pooled, a multiple of
            70.
        validation_fraction: Of the labelled examples, to validate on.
    """

    vocabulary_size: int = FINE_TUNING.vocabulary_size
    min_frequency: int = FINE_TUNING.min_frequency
    language_model_epochs: int = FINE_TUNING.epochs
    language_model_steps: int = FINE_TUNING.max_steps
    language_model_rate: float = FINE_TUNING.learning_rate
    language_model_batch_size: int = FINE_TUNING.batch_size
    language_model_decay_factor: float = 0.0
    language_model_ratio: float = FINE_TUNING.ratio
    language_model_dropout: float = FINE_TUNING.dropout_multiplier
    epochs: int = 12
    learning_rate: float = 0.01
    batch_size: int = 32
    dropout: float = 1.0
    encoder_dropout: float = 1.0
    decay_factor: float = 2.6
    lower_learning_rate: float = 0.0
    unfreezing: str = "paper"
    schedule: str = "slanted"
    cut_frac: float = 0.1
    ratio: float = 32.0
    activation_l2: float = 2.0
    temporal_l2: float = 1.0
    weight_decay: float = 1e-6
    global_clipnorm: float = 25.0
    label_smoothing: float = 0.0
    class_weights: str = "none"
    early_stopping: int = 0
    head_units: int = 50
    pooled_length: int = 1400
    validation_fraction: float = 0.1

    def __post_init__(self):
        for name, low, high in _RANGES:
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
                    f"`--{name.replace('_', '-')}` must be "
                    f"{' or '.join(choices)}. Received: {value}."
                )


CHOICES = {
    "class_weights": ("none", "balanced"),
    "schedule": SCHEDULES,
    # Those of `ulmfit_tf.training.unfreezing`, which takes seconds to import.
    "unfreezing": ("paper", "script", "chain-thaw", "full", "last"),
}
_MANY = 10**9
_RANGES = (
    ("vocabulary_size", 16, _MANY),
    ("min_frequency", 1, _MANY),
    ("language_model_epochs", 0, _MANY),
    ("language_model_steps", 0, _MANY),
    ("language_model_rate", 0.0, 10.0),
    ("language_model_batch_size", 1, 65536),
    ("language_model_decay_factor", 0.0, 1e3),
    ("language_model_ratio", 1.0, 1e6),
    ("language_model_dropout", 0.0, 2.5),
    ("epochs", 1, _MANY),
    ("learning_rate", 0.0, 10.0),
    # Batch norm has nothing to normalize with in a batch of one.
    ("batch_size", 2, 65536),
    ("dropout", 0.0, 1.9),
    ("encoder_dropout", 0.0, 1.0),
    ("decay_factor", 1e-3, 1e3),
    ("lower_learning_rate", 0.0, 10.0),
    ("cut_frac", 1e-6, 1 - 1e-6),
    ("ratio", 1.0, 1e6),
    ("activation_l2", 0.0, 1e6),
    ("temporal_l2", 0.0, 1e6),
    ("weight_decay", 0.0, 1.0),
    ("global_clipnorm", 1e-6, 1e6),
    ("label_smoothing", 0.0, 0.99),
    ("early_stopping", 0, _MANY),
    ("head_units", 1, 65536),
    ("pooled_length", 70, 70000),
    ("validation_fraction", 0.01, 0.5),
)

# Small sets take more epochs than large ones (the paper: 50 on small sets).
RECIPES = {
    "trec6": Recipe(),
    "trec50": Recipe(epochs=16),
    "questions": Recipe(),
    "imdb": Recipe(language_model_epochs=5, epochs=6),
    "ag_news": Recipe(language_model_epochs=5, epochs=6),
    "dbpedia": Recipe(language_model_epochs=2, epochs=5),
    "yelp_polarity": Recipe(language_model_epochs=2, epochs=5),
    "yelp_full": Recipe(language_model_epochs=2, epochs=5),
}


# Epochs at most without a pretrained model: new weights overfit sooner.
_FROM_SCRATCH_EPOCHS: dict[str, Any] = {
    "language_model_epochs": 10,
    "epochs": 8,
}

# Without a pretrained model there is nothing to preserve: every layer learns
# at the same rate from the start. Chosen on TREC-6's validation split.
FROM_SCRATCH: dict[str, Any] = {
    "unfreezing": "full",
    "decay_factor": 1.0,
    "learning_rate": 0.004,
    "batch_size": 64,
    "dropout": 0.8,
    "label_smoothing": 0.1,
}


# What is read and answered, rather than how that is learned: the same for
# everything that an experiment compares.
TASK_FIELDS = (
    "vocabulary_size",
    "min_frequency",
    "class_weights",
    "head_units",
    "pooled_length",
    "validation_fraction",
)


# What follows the size of a pretrained model, unless it is given.
MODEL_FIELDS = ("language_model_dropout", "encoder_dropout")


def recipe_for(dataset, overrides, pretrained=True):
    """Returns a data set's recipe with single fields replaced.

    Args:
        dataset: Name or path; one without a recipe gets the default.
        overrides: Dict of fields; values of `None` are not set.
        pretrained: Bool, whether there is a language model to start from.
    """
    recipe = RECIPES.get(dataset, Recipe())
    if not pretrained:
        recipe = dataclasses.replace(
            recipe,
            **FROM_SCRATCH,
            **{
                name: min(getattr(recipe, name), most)
                for name, most in _FROM_SCRATCH_EPOCHS.items()
            },
        )
    given = {k: v for k, v in overrides.items() if v is not None}
    return dataclasses.replace(recipe, **given)


# What `fitted_to_size` may make of a default.
_FITTED = {
    "epochs": ("more for few texts",),
    "batch_size": ("less for few texts",),
    "language_model_steps": ("other data: by its size",),
}


def described_defaults():
    """Returns what `--help` says of each field's default."""
    usual, described = Recipe(), {}
    for field in dataclasses.fields(Recipe):
        default = getattr(usual, field.name)
        others = [
            f"{getattr(recipe, field.name)} for {name}"
            for name, recipe in RECIPES.items()
            if getattr(recipe, field.name) != default
        ]
        if field.name in FROM_SCRATCH:
            others.append(
                f"{FROM_SCRATCH[field.name]} without a pretrained model"
            )
        if field.name in _FROM_SCRATCH_EPOCHS:
            most = _FROM_SCRATCH_EPOCHS[field.name]
            others.append(f"at most {most} without a pretrained model")
            others.append("other data: by its size")
        others += _FITTED.get(field.name, ())
        if field.name in MODEL_FIELDS:
            others.append("less for a pretrained model below the paper's size")
        described[field.name] = ", ".join([str(default), *others])
    return described


def fitted_to_model(recipe, given, architecture):
    """Returns a recipe with dropouts that suit a pretrained model's size.

    See `dropout_for`. The head's stay, and what the user gave.

    Args:
        recipe: `Recipe`.
        given: Collection of the fields that the user gave.
        architecture: `models.Architecture` of the pretrained model.
    """
    multiplier = dropout_for(architecture)
    changes = {
        name: multiplier
        for name in MODEL_FIELDS
        if name not in given and multiplier < getattr(recipe, name)
    }
    for name in changes:
        _log.info("%s: %g, for the size of the model", name, multiplier)
    return dataclasses.replace(recipe, **changes)


# A few hundred documents are a handful of steps an epoch: too few to thaw
# layer after layer in. The paper trains small sets for 50 epochs; here as many
# steps as these are with the usual batches, so that recipes with larger ones
# are not trained for less.
_FEWEST_STEPS = 400
_MOST_EPOCHS = 50
_USUAL_BATCH_SIZE = Recipe.batch_size
# What is more than this is enough text to fine-tune on, and to train the
# classifier on.
_MOST_TOKENS = 20_000_000
_STAGE_TWO_LENGTH = {"language_model_epochs", "language_model_steps"}
# Of each stream of stage two, about.
_TOKENS_A_STEP = 70
# Of stage three where there is much text: as for the large registered sets.
# Enough to unfreeze all five groups and go over all layers once more.
_LARGE_SET_EPOCHS = RECIPES["imdb"].epochs
# Batch norm takes its statistics from each batch.
_SMALLEST_BATCH = 8


def fitted_to_size(
    recipe,
    dataset,
    given,
    documents,
    tokens,
    labelled_tokens,
    pretrained=True,
    fewest_epochs=1,
):
    """Returns a recipe with epochs that suit the amount of data.

    Few documents get more epochs of stage three, about the same number of steps
    whatever the batch size, and batches of at most half of them; if they are so
    long that these are too many tokens, smaller batches and fewer epochs. A
    data set without a recipe of its own gets fewer epochs of stages two and
    three the more text it has, of stage two a part of one at last, and a small
    part of one with a recipe as many of stage two as if it had none. What the
    user gave stays.

    Args:
        recipe: `Recipe`.
        dataset: Name or path.
        given: Collection of the fields that the user gave.
        documents: Int, labelled documents to train on.
        tokens: Int, tokens of all text.
        labelled_tokens: Int, tokens of the labelled documents.
        pretrained: Bool, whether there is a language model to start from.
        fewest_epochs: Int, epochs that the recipe's unfreezing takes.
    """
    changes = {}
    fewest = max(
        fewest_epochs,
        RECIPES[dataset].epochs if dataset in RECIPES else _LARGE_SET_EPOCHS,
    )
    if "unfreezing" in given:
        # An order that was asked for keeps its epochs.
        fewest = max(fewest, recipe.epochs)
    affordable = max(fewest, _MOST_TOKENS // labelled_tokens)
    batch_size = recipe.batch_size
    if "batch_size" not in given:
        batch_size = min(batch_size, max(2, documents // 2))
        epochs = _epochs_wanted(documents, batch_size)
        if "epochs" not in given and epochs > affordable:
            # Few texts, but long ones: the steps come from smaller batches.
            steps = epochs * math.ceil(documents / batch_size)
            enough = documents * affordable // steps
            batch_size = min(batch_size, max(_SMALLEST_BATCH, enough))
        if batch_size < recipe.batch_size:
            changes["batch_size"] = batch_size
    wanted = min(_epochs_wanted(documents, batch_size), affordable)
    if "epochs" not in given and wanted > recipe.epochs:
        changes["epochs"] = wanted
    if dataset not in RECIPES:
        enough = max(1, _MOST_TOKENS // tokens)
        if (
            "language_model_epochs" not in given
            and enough < recipe.language_model_epochs
        ):
            changes["language_model_epochs"] = enough
        if (
            tokens > _MOST_TOKENS
            and recipe.language_model_epochs
            and not _STAGE_TWO_LENGTH & set(given)
        ):
            changes["language_model_steps"] = _MOST_TOKENS // (
                recipe.language_model_batch_size * _TOKENS_A_STEP
            )
        if "epochs" not in given and affordable < recipe.epochs:
            changes["epochs"] = affordable
    elif "language_model_epochs" not in given and recipe.language_model_epochs:
        # The recipes of large sets are for all of their text.
        most = recipe_for("", {}, pretrained).language_model_epochs
        enough = min(most, _MOST_TOKENS // tokens)
        usual = RECIPES[dataset].language_model_epochs
        if enough > usual == recipe.language_model_epochs:
            changes["language_model_epochs"] = enough
    for name, value in changes.items():
        _log.info("%s: %d, for the size of the data", name, value)
    return dataclasses.replace(recipe, **changes)


def _epochs_wanted(documents, batch_size):
    """Returns the epochs in which so few documents are enough steps."""
    steps = math.ceil(documents / batch_size)
    usual_steps = max(steps, math.ceil(documents / _USUAL_BATCH_SIZE))
    wanted_steps = min(_MOST_EPOCHS * usual_steps, _FEWEST_STEPS)
    return math.ceil(wanted_steps / steps)


def fitted_to_task(recipe, dataset, given, task, pretrained=True):
    """Returns a recipe that suits a task's size and its model's.

    See `fitted_to_size` and `fitted_to_model`.

    Args:
        recipe: `Recipe`.
        dataset: Name or path.
        given: Collection of the fields that the user gave.
        task: `Task`.
        pretrained: Bool, whether there is a language model to start from.
    """
    recipe = fitted_to_size(
        recipe,
        dataset,
        given,
        len(task.train),
        task.corpus.num_tokens,
        task.train.num_tokens,
        pretrained=pretrained,
        fewest_epochs=task.fewest_epochs(recipe.unfreezing),
    )
    if not pretrained:
        return recipe
    return fitted_to_model(recipe, given, task.architecture)


def tokens_to_read(recipe, tokens, labelled_tokens):
    """Returns the tokens that stages two and three read in one direction.

    Args:
        recipe: `Recipe`, fitted to the data.
        tokens: Int, tokens of all text.
        labelled_tokens: Int, tokens of the labelled documents.
    """
    stage_two = recipe.language_model_epochs * tokens
    if recipe.language_model_steps:
        batch = recipe.language_model_batch_size * _TOKENS_A_STEP
        stage_two = min(stage_two, recipe.language_model_steps * batch)
    return stage_two, recipe.epochs * labelled_tokens
