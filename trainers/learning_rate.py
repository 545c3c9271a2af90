"""The learning-rate finder of the language model command."""

import dataclasses

import keras
import numpy as np
from matplotlib.figure import Figure

from trainers.language_model_stage import (
    compiled_language_model,
    language_model_streams,
)
from ulmfit_tf import training
from ulmfit_tf.whole_files import written_whole

# fastai's range and number of steps.
_LOWEST, _HIGHEST, _STEPS = 1e-7, 10.0, 100


def find_learning_rate(
    architecture,
    tokenizer,
    weights,
    train_corpus,
    recipe,
    options,
    plot,
    steps=_STEPS,
):
    """Tries learning rates and plots the loss over them.

    Args:
        architecture: `models.Architecture`.
        tokenizer: Tokenizer of the corpus.
        weights: Dict of arrays to start from, or `None` for new ones; they
            are left as they are.
        train_corpus: `TokenizedCorpus`.
        recipe: `LanguageModelRecipe`; its rate and schedule do not matter.
        options: `RunOptions`.
        plot: `pathlib.Path` of a PNG file to write.
        steps: Int, rates to try.

    Returns:
        The `training.LearningRateCurve`, over the rate of the last layer
        group.
    """
    # Rates of the groups are then multiples of the last group's.
    recipe = dataclasses.replace(recipe, learning_rate=1.0)

    def growing(rate):
        return keras.optimizers.schedules.ExponentialDecay(
            rate * _LOWEST,
            decay_steps=steps - 1,
            decay_rate=_HIGHEST / _LOWEST,
        )

    stream, _ = language_model_streams(train_corpus, None, recipe, options)
    with options.strategy.scope():
        model, _ = compiled_language_model(
            architecture,
            len(tokenizer.vocabulary),
            weights,
            stream.batch_size // options.num_replicas,
            recipe,
            growing,
            options,
        )
    curve = training.find_learning_rate(
        model, stream.dataset(), np.geomspace(_LOWEST, _HIGHEST, steps)
    )
    _draw(curve, plot)
    return curve


def _draw(curve, path):
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(curve.rates, curve.losses, color="0.8", label="batch")
    axes.plot(curve.rates, curve.smoothed, color="C0", label="smoothed")
    for label, rate, style in (
        ("steepest descent", curve.steepest, "--"),
        ("minimum / 10", curve.minimum_tenth, ":"),
    ):
        if rate is not None:
            axes.axvline(
                rate, color="C1", linestyle=style, label=f"{label}: {rate:.2g}"
            )
    axes.set(
        xscale="log",
        xlabel="learning rate of the last layer group",
        ylabel="loss, nats a token",
    )
    # What diverges would flatten the rest.
    low, high = curve.losses.min(), curve.losses[0]
    margin = 0.2 * (high - low) + 0.1
    axes.set_ylim(low - margin, high + margin)
    axes.legend()
    with written_whole(path) as beside:
        figure.savefig(beside, format="png", dpi=120)
