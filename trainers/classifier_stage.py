"""Fine-tuning of a classifier (stage three)."""

import logging
import pathlib

import keras

from trainers.objective import objective
from trainers.optimizers import group_optimizers, staged_schedules
from trainers.progress import GroupRates, Progress
from ulmfit_tf import models, training
from ulmfit_tf.data.chunks import DocumentBatches, documents_in_length_order

_log = logging.getLogger("trainers")
# Rates of the authors' scripts, before the head's two linear layers.
_HEAD_DROPOUTS = (0.4, 0.1)


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
):
    """Fine-tunes a classifier, resuming where a killed run stopped.

    Args:
        architecture: `models.Architecture`.
        vocabulary_size: Int.
        num_classes: Int.
        task_type: `TaskType`.
        weights: Dict of arrays of the encoder to start from, or `None`.
        train: Pair of a `TokenizedCorpus` and labels as of `TextDataset`.
        validation: The same.
        recipe: `Recipe`.
        directory: Folder for the training state and TensorBoard logs.
        options: `RunOptions`.

    Returns:
        `(weights, records)`: dict of arrays, and the logs of each epoch.
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
        document_weights=goal.document_weights,
        num_replicas=options.num_replicas,
    )
    keras.utils.set_random_seed(options.seed)
    with options.strategy.scope():
        model = models.TextClassifier(
            vocabulary_size,
            num_classes,
            architecture,
            dropouts=models.CLASSIFIER_DROPOUTS.scaled(recipe.dropout),
            head_units=recipe.head_units,
            head_dropouts=[rate * recipe.dropout for rate in _HEAD_DROPOUTS],
            pooled_length=recipe.pooled_length,
            dtype=options.policy,
        )
        model.build()
        if weights is not None:
            models.set_weights(models.encoder_weights(model.encoder), weights)
        groups = model.layer_groups
        stages = training.unfreezing_stages(
            recipe.unfreezing, len(groups), recipe.epochs
        )
        rates = training.discriminative_rates(
            recipe.learning_rate, len(groups), recipe.decay_factor
        )
        schedules = staged_schedules(
            stages,
            batches.steps_per_epoch,
            rates,
            recipe.cut_frac,
            recipe.ratio,
        )
        optimizers = group_optimizers(schedules, recipe.weight_decay)
        model.compile(
            optimizer=training.DiscriminativeOptimizer(
                model, groups, optimizers, recipe.global_clipnorm
            ),
            loss=goal.loss,
            metrics=goal.metrics(),
        )
    state = training.TrainingState(
        directory / "training_state.npz", options.checkpoint_seconds
    )
    variables = models.classifier_weights(model)
    total_steps = recipe.epochs * batches.steps_per_epoch
    callbacks = []
    if recipe.averaged_part:
        with options.strategy.scope():
            averaging = training.TailAveraging(
                variables, state, total_steps, recipe.averaged_part
            )
        variables = averaging.averages
        callbacks.append(averaging)
    callbacks += [
        training.GradualUnfreezing(groups, stages),
        GroupRates(optimizers, state, directory / "logs" / "train"),
        Progress(
            f"{options.direction} classifier",
            state,
            total_steps,
        ),
        keras.callbacks.TensorBoard(directory / "logs", write_graph=False),
    ]
    best = None
    if recipe.early_stopping:
        best = training.BestWeights(
            directory / "best_weights.npz",
            variables,
            state,
            patience=recipe.early_stopping,
        )
        callbacks.append(best)
    if state.restore(model):
        _log.info("%s: resumed at step %d", directory.name, state.step)
    corpus, labels = validation
    records = training.resumable_fit(
        model,
        batches.dataset,
        batches.steps_per_epoch,
        recipe.epochs,
        state,
        callbacks=callbacks,
        validation_data=documents_in_length_order(
            corpus,
            goal.targets(labels),
            2 * recipe.batch_size,
            backward=options.backward,
            num_replicas=options.num_replicas,
        ),
    )
    if best is not None:
        best.restore()
    return models.get_weights(variables), records
