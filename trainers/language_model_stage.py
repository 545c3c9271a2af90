"""Training of a language model: from scratch or fine-tuning (stage two)."""

import dataclasses
import logging
import math
import pathlib

import keras
import numpy as np

from trainers.optimizers import group_optimizers, staged_schedules
from trainers.progress import GroupRates, Progress
from ulmfit_tf import models, training
from ulmfit_tf.data.lm_stream import LanguageModelStream, rows_for

_log = logging.getLogger("trainers")


@dataclasses.dataclass(frozen=True)
class LanguageModelRecipe:
    """How a language model is trained.

    Attributes:
        epochs: Passes over the text.
        max_steps: Optimizer steps at most; 0 for no limit but the epochs.
        batch_size: Streams read in parallel, over all replicas.
        learning_rate: Highest rate of the last layer group.
        decay_factor: A group's rate over that of the group below.
        schedule: `"slanted"` for the slanted triangle, or `"stable"` for
            `training.WarmUpStableDecay`.
        cut_frac: Of the slanted triangle.
        ratio: Of the slanted triangle.
        weight_decay: Decoupled.
        global_clipnorm: Norm that all gradients together may have.
        dropout_multiplier: Scales `models.LANGUAGE_MODEL_DROPOUTS`.
        activation_l2: Weight of AR.
        temporal_l2: Weight of TAR.
        sample_size: Words of the sampled softmax; 0 for the full one.
        steps_per_report: Epochs longer than this are reported, validated and
            saved in parts of about this many steps.
    """

    epochs: int = 15
    max_steps: int = 0
    batch_size: int = 64
    learning_rate: float = 0.004
    decay_factor: float = 2.6
    schedule: str = "slanted"
    cut_frac: float = 0.1
    ratio: float = 32.0
    weight_decay: float = 1e-7
    global_clipnorm: float = 0.3
    dropout_multiplier: float = 1.0
    activation_l2: float = 2.0
    temporal_l2: float = 1.0
    sample_size: int = 0
    steps_per_report: int = 500


def train_language_model(
    architecture,
    vocabulary_size,
    weights,
    train_corpus,
    validation_corpus,
    recipe,
    directory,
    options,
):
    """Trains a language model, resuming where a killed run stopped.

    Args:
        architecture: `models.Architecture`.
        vocabulary_size: Int.
        weights: Dict of arrays to start from, or `None` for new ones.
        train_corpus: `TokenizedCorpus`.
        validation_corpus: `TokenizedCorpus`, or `None`.
        recipe: `LanguageModelRecipe`.
        directory: Folder for the training state and TensorBoard logs.
        options: `RunOptions`.

    Returns:
        `(weights, records)`: dict of arrays, and the logs of each epoch.
    """
    directory = pathlib.Path(directory)
    replicas = options.num_replicas
    rows = _rows_per_replica(
        recipe.batch_size, replicas, train_corpus, validation_corpus
    )
    stream = LanguageModelStream(
        train_corpus,
        rows * replicas,
        backward=options.backward,
        seed=options.seed,
    )
    reports, steps_per_report = _parts(recipe, stream.steps_per_epoch)
    keras.utils.set_random_seed(options.seed)
    with options.strategy.scope():
        model = models.LanguageModel(
            vocabulary_size,
            architecture,
            batch_size=rows,
            dropouts=models.LANGUAGE_MODEL_DROPOUTS.scaled(
                recipe.dropout_multiplier
            ),
            activation_l2=recipe.activation_l2,
            temporal_l2=recipe.temporal_l2,
            sample_size=recipe.sample_size or None,
            dtype=options.policy,
        )
        model.build()
        variables = models.language_model_weights(model)
        if weights is not None:
            models.set_weights(variables, weights)
        groups = model.layer_groups
        rates = training.discriminative_rates(
            recipe.learning_rate, len(groups), recipe.decay_factor
        )
        schedules = _schedules(recipe, rates, reports, steps_per_report)
        optimizers = group_optimizers(schedules, recipe.weight_decay)
        model.compile(
            optimizer=training.DiscriminativeOptimizer(
                model, groups, optimizers, recipe.global_clipnorm
            )
        )
    state = training.TrainingState(
        directory / "training_state.npz", options.checkpoint_seconds
    )
    if state.restore(model):
        _log.info("%s: resumed at step %d", directory.name, state.step)
    fit = {}
    if validation_corpus is not None:
        evaluation = LanguageModelStream(
            validation_corpus, rows * replicas, backward=options.backward
        )
        fit = {
            "validation_data": evaluation.dataset(),
            "validation_steps": evaluation.steps_per_epoch,
        }
    tokens = train_corpus.num_tokens / stream.steps_per_epoch
    records = training.resumable_fit(
        model,
        stream.dataset,
        steps_per_report,
        reports,
        state,
        callbacks=[
            GroupRates(optimizers, state, directory / "logs" / "train"),
            Progress(
                f"{options.direction} language model",
                state,
                reports * steps_per_report,
                tokens_per_step=tokens,
            ),
            keras.callbacks.TensorBoard(directory / "logs", write_graph=False),
        ],
        **fit,
    )
    arrays = models.get_weights(variables)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise FloatingPointError(
            "The language model's weights are no longer finite. Lower the "
            f"learning rate ({recipe.learning_rate}) or use "
            "`--precision float32`."
        )
    return arrays, records


def stable_until(recipe, train_corpus, validation_corpus, replicas):
    """Returns the step at which the rate of a stable schedule falls.

    Args:
        recipe: `LanguageModelRecipe`.
        train_corpus: `TokenizedCorpus`.
        validation_corpus: `TokenizedCorpus`, or `None`.
        replicas: Int, devices to train on.
    """
    rows = _rows_per_replica(
        recipe.batch_size, replicas, train_corpus, validation_corpus
    )
    # Any seed: the number of windows does not depend on it.
    stream = LanguageModelStream(train_corpus, rows * replicas, seed=0)
    parts = _parts(recipe, stream.steps_per_epoch)
    return _stable_schedule(1.0, recipe, *parts).stable_until


def _parts(recipe, steps_per_epoch):
    """Returns the number of reports and the steps of each."""
    total_steps = recipe.epochs * steps_per_epoch
    reports = recipe.epochs
    if recipe.max_steps and recipe.max_steps < total_steps:
        total_steps = recipe.max_steps
        reports = math.ceil(total_steps / steps_per_epoch)
    if steps_per_epoch > recipe.steps_per_report:
        reports = math.ceil(total_steps / recipe.steps_per_report)
    # Equal parts; at most `reports - 1` steps of the whole are left out.
    return reports, total_steps // reports


def _stable_schedule(rate, recipe, reports, steps_per_report):
    return training.WarmUpStableDecay(
        rate, reports * steps_per_report, ratio=recipe.ratio
    )


def _schedules(recipe, rates, reports, steps_per_report):
    """Returns the schedule of each layer group."""
    if recipe.schedule == "stable":
        return [
            _stable_schedule(rate, recipe, reports, steps_per_report)
            for rate in rates
        ]
    everything = training.Stage(reports, tuple(range(len(rates))))
    return staged_schedules(
        [everything], steps_per_report, rates, recipe.cut_frac, recipe.ratio
    )


def _rows_per_replica(batch_size, replicas, train_corpus, validation_corpus):
    rows = rows_for(train_corpus.num_tokens, batch_size)
    if validation_corpus is not None:
        # Both are read with the same number of carried states.
        rows = min(rows, max(1, (validation_corpus.num_tokens - 1) // 2))
    if rows < batch_size:
        _log.info(
            "There is little text: it is read in %d streams, not %d.",
            rows,
            batch_size,
        )
    return max(1, rows // replicas)
