"""Training of a language model: from scratch or fine-tuning (stage two)."""

import functools
import logging
import math
import pathlib

import keras
import numpy as np

from trainers.finite_loss import FiniteLoss
from trainers.optimizers import group_optimizers, schedule
from trainers.progress import Progress, write_records
from trainers.stream_windows import StreamWindows
from ulmfit_tf import models, training
from ulmfit_tf.data.lm_stream import LanguageModelStream, rows_for

_log = logging.getLogger("trainers")
# Of a stable schedule: the same whatever the number of steps.
WARM_UP_STEPS = 200
# Tokens to validate on over those to train on between two reports.
_MUCH_VALIDATION = 0.25


def train_language_model(
    architecture,
    tokenizer,
    weights,
    train_corpus,
    validation_corpus,
    recipe,
    directory,
    options,
):
    """Trains a language model, resuming where a killed run stopped.

    With validation text the result is that of the report with the lowest
    validation perplexity, else that of the last step; with averaging it is
    the averaged weights.

    Args:
        architecture: `models.Architecture`.
        tokenizer: Tokenizer of the corpora, or anything with its
            `vocabulary`: then no texts are written while it is trained.
        weights: Dict of arrays to start from, or `None` for new ones.
        train_corpus: `TokenizedCorpus`.
        validation_corpus: `TokenizedCorpus`, or `None`.
        recipe: `LanguageModelRecipe`.
        directory: Folder for the training state and TensorBoard logs.
        options: `RunOptions`.

    Returns:
        `(weights, records)`: dict of arrays, and the logs of each epoch.

    Raises:
        FloatingPointError: If a loss is not finite. The best weights before
            and the last training state stay in `directory`.
    """
    directory = pathlib.Path(directory)
    stream, evaluation = language_model_streams(
        train_corpus, validation_corpus, recipe, options
    )
    steps_per_epoch = stream.steps_per_epoch
    reports, steps_per_report = _reports(recipe, steps_per_epoch)
    total_steps = reports * steps_per_report
    tokens = train_corpus.num_tokens / steps_per_epoch
    if validation_corpus is not None:
        _tell_cost(steps_per_report * tokens, validation_corpus.num_tokens)

    def rate_schedule(rate):
        return schedule(
            recipe.schedule,
            rate,
            total_steps,
            recipe.cut_frac,
            recipe.ratio,
            stable_warm_up=WARM_UP_STEPS,
        )

    state = training.TrainingState(
        directory / "training_state.npz", options.checkpoint_seconds
    )
    with options.strategy.scope():
        model, optimizers = compiled_language_model(
            architecture,
            len(tokenizer.vocabulary),
            weights,
            stream.batch_size // options.num_replicas,
            recipe,
            rate_schedule,
            options,
        )
        variables = models.language_model_weights(model)
        averaging = _averaging(recipe, variables, state, evaluation)
    if averaging:
        variables = averaging.averages
    if state.restore(model):
        _log.info("%s: resumed at step %d", directory.name, state.step)
    batches = _batches(stream)
    callbacks = [averaging] if averaging else []
    fit = {}
    best = None
    if evaluation is not None:
        best = training.BestWeights(
            directory / "best_weights.npz",
            variables,
            state,
            monitor="val_perplexity",
            patience=None,
        )
        callbacks.append(best)
        fit = {
            "validation_data": _batches(evaluation)(),
            "validation_steps": evaluation.steps_per_epoch,
        }
    progress = Progress(
        f"{options.direction} language model",
        state,
        total_steps,
        batches,
        tokens_per_step=tokens,
        unit="epoch" if steps_per_report == steps_per_epoch else "report",
    )
    callbacks.append(progress)
    if _on_tensorflow():
        logs = directory / "logs"
        if state.records and not logs.exists():
            # Another backend has trained them.
            write_records(logs, state.records)
        # Prepared runs have ids alone.
        if best is not None and callable(tokenizer):
            samples = _samples(
                logs, tokenizer, validation_corpus, state, averaging, options
            )
            callbacks.insert(-1, samples)
        callbacks += _tensorboard(logs, optimizers, state, tokens)
    remedy = (
        f"Lower the learning rate ({recipe.learning_rate}) or use "
        f"`--precision float32`. What was learned before is in `{directory}`."
    )
    records = training.resumable_fit(
        model,
        batches,
        steps_per_report,
        reports,
        state,
        callbacks=[
            FiniteLoss(state, remedy, every=1 if _on_tensorflow() else 20),
            *callbacks,
        ],
        **fit,
    )
    if best is not None:
        perplexities = [record["val_perplexity"] for record in records]
        if not np.isfinite(perplexities).any():
            raise FloatingPointError(
                "The perplexity of the validation text is too large for a "
                f"number in all reports. {remedy}"
            )
        best.restore()
    arrays = models.get_weights(variables)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise FloatingPointError(
            f"The language model's weights are no longer finite. {remedy}"
        )
    return arrays, records


def stable_until(recipe, train_corpus, validation_corpus, options):
    """Returns the step at which the rate of a stable schedule falls.

    Args:
        recipe: `LanguageModelRecipe`.
        train_corpus: `TokenizedCorpus`.
        validation_corpus: `TokenizedCorpus`, or `None`.
        options: `RunOptions`.
    """
    stream, _ = language_model_streams(
        train_corpus, validation_corpus, recipe, options
    )
    reports, steps_per_report = _reports(recipe, stream.steps_per_epoch)
    return training.WarmUpStableDecay(
        1.0, reports * steps_per_report
    ).stable_until


def language_model_streams(train_corpus, validation_corpus, recipe, options):
    """Returns the streams to train and to validate on, the last optional."""
    replicas = options.num_replicas
    rows = rows_for(train_corpus.num_tokens, recipe.batch_size)
    if validation_corpus is not None:
        # Both are read with the same number of carried states.
        rows = min(rows, max(1, (validation_corpus.num_tokens - 1) // 2))
    if rows < recipe.batch_size:
        _log.info(
            "There is little text: it is read in %d streams, not %d.",
            rows,
            recipe.batch_size,
        )
    rows = max(1, rows // replicas) * replicas
    stream = LanguageModelStream(
        train_corpus,
        rows,
        backward=options.backward,
        seed=options.seed,
        equal_windows=recipe.windows == "equal",
    )
    if validation_corpus is None:
        return stream, None
    evaluation = LanguageModelStream(
        validation_corpus, rows, backward=options.backward
    )
    return stream, evaluation


def compiled_language_model(
    architecture,
    vocabulary_size,
    weights,
    rows,
    recipe,
    rate_schedule,
    options,
):
    """Returns a model to train and the optimizers of its layer groups.

    Call it under the distribution strategy.

    Args:
        architecture: `models.Architecture`.
        vocabulary_size: Int.
        weights: Dict of arrays to start from, or `None` for new ones.
        rows: Int, streams on each replica.
        recipe: `LanguageModelRecipe`.
        rate_schedule: Callable from a group's highest rate to a schedule.
        options: `RunOptions`.
    """
    keras.utils.set_random_seed(options.seed)
    model = models.LanguageModel(
        vocabulary_size,
        architecture,
        batch_size=rows,
        dropouts=models.LANGUAGE_MODEL_DROPOUTS.scaled(
            recipe.dropout_multiplier
        ),
        activation_l2=recipe.activation_l2,
        temporal_l2=recipe.temporal_l2,
        sample_size=recipe.softmax_sample(vocabulary_size),
        dtype=options.policy,
    )
    model.build()
    if weights is not None:
        models.set_weights(models.language_model_weights(model), weights)
    groups = model.layer_groups
    rates = training.discriminative_rates(
        recipe.learning_rate, len(groups), recipe.decay_factor
    )
    optimizers = group_optimizers(
        [rate_schedule(rate) for rate in rates], recipe.weight_decay
    )
    model.compile(
        optimizer=training.DiscriminativeOptimizer(
            model, groups, optimizers, recipe.global_clipnorm
        )
    )
    training.separate_seeds(model)
    return model, optimizers


def _on_tensorflow():
    return keras.backend.backend() == "tensorflow"


def _batches(stream):
    """Returns a callable from a step to the batches that start there."""
    if _on_tensorflow():
        return stream.dataset
    return functools.partial(StreamWindows, stream)


def _samples(logs, tokenizer, held_out, state, averaging, options):
    """Returns the callback that writes texts; it needs TensorFlow."""
    from trainers.samples import SampleTexts, held_out_prompt

    backward = options.backward
    prompt = held_out_prompt(held_out, tokenizer, backward)
    return SampleTexts(
        tokenizer, prompt, backward, state, logs / "train", averaging
    )


def _tensorboard(logs, optimizers, state, tokens_per_step):
    """Returns the callbacks for TensorBoard, which need TensorFlow."""
    from trainers.progress import GroupRates, TensorBoard, Throughput

    return [
        GroupRates(optimizers, state, logs / "train"),
        Throughput(tokens_per_step, state, logs / "train"),
        TensorBoard(logs, write_graph=False),
    ]


def _tell_cost(trained_on, validated_on):
    """Warns if a report reads much text, beside what was trained on."""
    if validated_on > _MUCH_VALIDATION * trained_on:
        _log.warning(
            "Each report reads %s tokens to validate on, after %s to train "
            "on. A smaller `--validation-fraction` or a larger "
            "`--steps-per-report` takes less time.",
            f"{validated_on:,}",
            f"{int(trained_on):,}",
        )


def _reports(recipe, steps_per_epoch):
    """Returns how many reports there are, and the steps between them.

    Reports are equally far apart; at most as many steps as there are reports
    are left out at the end.
    """
    total_steps = recipe.epochs * steps_per_epoch
    reports = recipe.epochs
    if recipe.max_steps and recipe.max_steps < total_steps:
        total_steps = recipe.max_steps
        reports = math.ceil(total_steps / steps_per_epoch)
    if steps_per_epoch > recipe.steps_per_report:
        reports = math.ceil(total_steps / recipe.steps_per_report)
    return reports, total_steps // reports


def _averaging(recipe, variables, state, evaluation):
    """Returns the callback that averages the weights, or `None`."""
    if recipe.averaging == "exponential":
        return training.ExponentialAveraging(
            variables, state, recipe.averaging_decay
        )
    if recipe.averaging == "nt-asgd":
        if evaluation is None:
            raise ValueError(
                "`averaging='nt-asgd'` begins where validation stops "
                "improving. Received: no validation corpus. Hold text out, "
                "or use `averaging='exponential'`."
            )
        return training.NonMonotoneAveraging(
            variables, state, monitor="val_perplexity"
        )
    return None
