"""Stages two and three of a prepared task, and the classifier they make."""

import dataclasses

from trainers.classifier_stage import new_classifier, train_classifier
from trainers.language_model_recipe import LanguageModelRecipe
from trainers.language_model_stage import train_language_model
from trainers.task_text import weights_for
from trainers.thresholds import undecided
from ulmfit_tf import pretrained
from ulmfit_tf.data.chunks import CHUNK_LENGTH


def starting_weights(task, direction):
    """Returns the pretrained weights for a task's words, or `None`."""
    language_model = task.language_models[direction]
    if language_model is None:
        return None
    return weights_for(language_model, task.tokenizer.vocabulary)


def fine_tune_language_model(task, recipe, directory, options):
    """Runs stage two on all of a task's text.

    Args:
        task: `Task`.
        recipe: `Recipe`.
        directory: Folder for the training state and TensorBoard logs.
        options: `RunOptions`.

    Returns:
        `(weights, records)`, see `train_language_model`.
    """
    return train_language_model(
        task.architecture,
        task.tokenizer,
        starting_weights(task, options.direction),
        task.corpus,
        None,
        language_model_recipe(task, recipe, options.direction),
        directory,
        options,
    )


def fine_tune_classifier(
    task, recipe, encoder, directory, options, model=None, validate=True
):
    """Runs stage three on a task's labelled texts and the words in them.

    Args:
        task: `Task`.
        recipe: `Recipe`.
        encoder: Dict of arrays of stage two, or `None`.
        directory: Folder for the training state and TensorBoard logs.
        options: `RunOptions`.
        model: Optional, what `untrained_classifier` returned for these
            arguments.
        validate: Bool, whether to measure the validation split each epoch.

    Returns:
        `(weights, records)`, see `train_classifier`; the weights have a row
        for every word of the task's vocabulary.
    """
    words = task.words_in_use
    validation = words.renumbered(task.validation), task.validation_labels
    weights, records = train_classifier(
        task.architecture,
        len(words),
        len(task.dataset.classes),
        task.dataset.task_type,
        None if encoder is None else words.narrowed(encoder),
        (words.renumbered(task.train), task.dataset.train_labels),
        validation if validate else None,
        recipe,
        directory,
        options,
        model,
    )
    return words.widened(weights, encoder), records


def untrained_classifier(task, recipe, options):
    """Returns the model that `fine_tune_classifier` trains."""
    return new_classifier(
        task.architecture,
        len(task.words_in_use),
        len(task.dataset.classes),
        recipe,
        options,
    )


def trained_classifier(task, recipe, weights, seed):
    """Returns the `TrainedClassifier` of the weights of each direction."""
    return pretrained.TrainedClassifier(
        task.dataset.classes,
        task.tokenizer,
        {
            "architecture": dataclasses.asdict(task.architecture),
            "head_units": recipe.head_units,
            "pooled_length": recipe.pooled_length,
            "chunk_length": CHUNK_LENGTH,
        },
        weights,
        {"dataset": task.dataset.name, "seed": seed},
        undecided(task.dataset),
    )


def language_model_recipe(task, recipe, direction):
    """Returns what a recipe says of stage two."""
    is_pretrained = task.language_models[direction] is not None
    decay_factor = recipe.language_model_decay_factor or recipe.decay_factor
    return LanguageModelRecipe(
        epochs=recipe.language_model_epochs,
        max_steps=recipe.language_model_steps,
        batch_size=recipe.language_model_batch_size,
        learning_rate=recipe.language_model_rate,
        # New weights have nothing to preserve in the lower layers.
        decay_factor=decay_factor if is_pretrained else 1.0,
        cut_frac=recipe.cut_frac,
        ratio=recipe.language_model_ratio,
        dropout_multiplier=recipe.language_model_dropout,
    )
