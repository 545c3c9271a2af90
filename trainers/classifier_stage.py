"""Fine-tuning of a classifier (stage three)."""

import itertools
import logging
import pathlib

import keras
import numpy as np

from trainers.finite_loss import FiniteLoss
from trainers.objective import objective
from trainers.optimizers import classifier_schedules, group_optimizers
from trainers.progress import GroupRates, Progress, TensorBoard
from ulmfit_tf import models, training
from ulmfit_tf.data.chunks import DocumentBatches, documents_in_length_order

_log = logging.getLogger("trainers")
# Rates of the authors' scripts, before the head's two linear layers.
_HEAD_DROPOUTS = (0.4, 0.1)


def new_classifier(architecture, vocabulary_size, num_classes, recipe, options):
    """Returns an untrained `models.TextClassifier`, the same for a seed.

    Args:
        architecture: `models.Architecture`.
        vocabulary_size: Int.
        num_classes: Int.
        recipe: `Recipe`.
        options: `RunOptions`.
    """
    of_encoder = recipe.dropout * recipe.encoder_dropout
    keras.utils.set_random_seed(options.seed)
    with options.strategy.scope():
        model = models.TextClassifier(
            vocabulary_size,
            num_classes,
            architecture,
            dropouts=models.CLASSIFIER_DROPOUTS.scaled(of_encoder),
            head_units=recipe.head_units,
            head_dropouts=[rate * recipe.dropout for rate in _HEAD_DROPOUTS],
            pooled_length=recipe.pooled_length,
            activation_l2=recipe.activation_l2,
            temporal_l2=recipe.temporal_l2,
            dtype=options.policy,
        )
        model.build()
    return model


def train_classifier(
    architecture,
    vocabulary_size,
    num_classes,
    task_type,
    weights,
    train,
    validation,
    recipe,
    directory,
    options,
    model=None,
):
    """Fine-tunes a classifier, resuming where a killed run stopped.

    Args:
        architecture: `models.Architecture`.
        vocabulary_size: Int.
        num_classes: Int.
        task_type: `TaskType`.
        weights: Dict of arrays of the encoder to start from, or `None`.
        train: Pair of a `TokenizedCorpus` and labels as of `TextDataset`.
        validation: The same, measured after each epoch; or `None`.
        recipe: `Recipe`.
        directory: Folder for the training state and TensorBoard logs.
        options: `RunOptions`.
        model: Optional, what `new_classifier` returned for these arguments.

    Returns:
        `(weights, records)`: dict of arrays, and the logs of each epoch.

    Raises:
        FloatingPointError: If training diverged.
    """
    directory = pathlib.Path(directory)
    corpus, labels = train
    goal = objective(task_type, labels, num_classes, recipe)
    batches = DocumentBatches(
        corpus,
        goal.targets(labels),
        recipe.batch_size,
        backward=options.backward,
        seed=options.seed,
        document_weights=goal.document_weights(labels),
        num_replicas=options.num_replicas,
    )
    if model is None:
        model = new_classifier(
            architecture, vocabulary_size, num_classes, recipe, options
        )
    with options.strategy.scope():
        if weights is not None:
            models.set_weights(models.encoder_weights(model.encoder), weights)
        groups = model.layer_groups
        stages, schedules = classifier_schedules(
            recipe, len(groups), batches.steps_per_epoch
        )
        optimizers = group_optimizers(schedules, recipe.weight_decay)
        model.compile(
            optimizer=training.DiscriminativeOptimizer(
                model, groups, optimizers, recipe.global_clipnorm
            ),
            loss=goal.loss,
            metrics=goal.metrics(),
        )
        training.separate_seeds(model)
    state = training.TrainingState(
        directory / "training_state.npz", options.checkpoint_seconds
    )
    variables = models.classifier_weights(model)
    remedy = (
        f"Lower the learning rate ({recipe.learning_rate}) or use "
        "`--precision float32`, and start a new run."
    )
    callbacks = [
        FiniteLoss(state, remedy),
        training.GradualUnfreezing(groups, stages),
        GroupRates(optimizers, state, directory / "logs" / "train"),
        Progress(
            f"{options.direction} classifier",
            state,
            recipe.epochs * batches.steps_per_epoch,
            batches.dataset,
            changes=_changes(stages, batches.steps_per_epoch),
        ),
        TensorBoard(directory / "logs", write_graph=False),
    ]
    best = None
    if recipe.early_stopping:
        best = training.BestWeights(
            directory / "best_weights.npz",
            variables,
            state,
            patience=recipe.early_stopping,
            # The loss may rise when layers thaw.
            patient_from=recipe.epochs - stages[-1].epochs,
        )
        callbacks.append(best)
    if state.restore(model):
        _log.info("%s: resumed at step %d", directory.name, state.step)
    fit = {}
    if validation is not None:
        corpus, labels = validation
        fit["validation_data"] = documents_in_length_order(
            corpus,
            goal.targets(labels),
            2 * recipe.batch_size,
            backward=options.backward,
            document_weights=goal.document_weights(labels),
            num_replicas=options.num_replicas,
        )
    records = training.resumable_fit(
        model,
        batches.dataset,
        batches.steps_per_epoch,
        recipe.epochs,
        state,
        callbacks=callbacks,
        **fit,
    )
    if best is not None:
        best.restore()
    arrays = models.get_weights(variables)
    # The likeliest of probabilities that are not numbers is the first class:
    # such a classifier would pass for a bad one.
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise FloatingPointError(
            f"The classifier's weights are no longer finite. {remedy}"
        )
    return arrays, records


def _changes(stages, steps_per_epoch):
    """Returns the steps from which on other groups are trained."""
    epochs = itertools.accumulate(stage.epochs for stage in stages[:-1])
    return [epoch * steps_per_epoch for epoch in epochs]
