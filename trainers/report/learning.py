"""Learning curves of a run's stages."""

import dataclasses
import math

import numpy as np
from keras import ops
from markupsafe import Markup

from trainers.language_model_recipe import FINE_TUNING
from trainers.optimizers import classifier_schedules, schedule
from trainers.report import plots

# An epoch's, where they are not known.
_STEPS = 200


@dataclasses.dataclass(frozen=True)
class StageCurves:
    """What there is to see of one stage of training.

    Attributes:
        title: Str.
        note: Str, what a reader must know.
        plots: List of SVGs.
    """

    title: str
    note: str
    plots: list[Markup]


def learning_curves(
    records, recipe, num_documents, second=None
) -> list[StageCurves]:
    """Returns the curves of each stage that was run.

    Args:
        records: Dict of the logs of each epoch, by
            `"<direction>_language_model"`, `"<direction>_classifier"` or
            `"<direction>_second_classifier"`; by `"<direction>_pretraining"`
            the points of a `pretrained.CurvePoint` each.
        recipe: `trainers.recipes.Recipe`.
        num_documents: Int, documents that the classifier was trained on.
        second: Optional pair of what the second one, with pseudo-labels, was
            trained by: its recipe and number of documents.
    """
    stages = []
    for name, logs in records.items():
        direction, stage = name.split("_", 1)
        if logs and stage == "pretraining":
            stages.append(_pretraining(direction, logs))
        elif logs and stage == "language_model":
            stages.append(_language_model(direction, logs, recipe))
        elif logs and stage == "second_classifier":
            title = f"Stage three again: second {direction} classifier"
            curves = _classifier(title, logs, *second)
            note = " In training the first one's answers count as right."
            stages.append(dataclasses.replace(curves, note=curves.note + note))
        elif logs:
            which = "first " if second else ""
            title = f"Stage three: {which}{direction} classifier"
            stages.append(_classifier(title, logs, recipe, num_documents))
    return stages


def _pretraining(direction, records):
    return StageCurves(
        f"Stage one: {direction} language model",
        "Done before this run, on other text, some of which was held out to "
        "measure it; the model's card says which.",
        [plots.pretraining(records)],
    )


def _language_model(direction, records, recipe):
    groups = _layers(_num_groups(records))
    note = "All layers are trained from the start."
    if len(records) != recipe.language_model_epochs:
        note += " What counts as an epoch here is a part of one."
    names = {"perplexity": "training", "val_perplexity": "validation"}
    return StageCurves(
        f"Stage two: {direction} language model",
        note,
        [
            plots.curves(records, names, "perplexity"),
            plots.rates(
                records,
                _planned_language_model(records, recipe),
                groups,
                [range(len(groups))] * len(records),
            ),
        ],
    )


def _planned_language_model(records, recipe):
    """Epochs and rates of each group of stage two."""
    recorded = np.array(
        [
            records[0][f"learning_rate/group_{group}"]
            for group in range(_num_groups(records))
        ]
    )
    # Of whole steps, on which the triangle's corner depends. Records of earlier
    # releases lack them.
    total = records[-1].get("step", len(records) * _STEPS)
    steps = np.arange(total)
    per_record = len(steps) / len(records)
    shape = ops.convert_to_numpy(
        schedule(
            FINE_TUNING.schedule,
            recipe.language_model_rate,
            len(steps),
            recipe.cut_frac,
            recipe.language_model_ratio,
        )(steps.astype("float32"))
    )
    # All groups have the same one, the last one's rate is the recipe's. A
    # record has the rate of its last step.
    shares = recorded / recorded[-1]
    return [((steps + 1) / per_record, share * shape) for share in shares]


def _classifier(title, records, recipe, num_documents):
    num_groups = _num_groups(records)
    groups = [*_layers(num_groups - 1), "head"]
    steps_per_epoch = math.ceil(num_documents / recipe.batch_size)
    stages, schedules = classifier_schedules(
        recipe, num_groups, steps_per_epoch
    )
    moments = _moments(stages, len(records))
    planned = [
        _planned(of_group, stages, group, steps_per_epoch)
        for group, of_group in enumerate(schedules)
    ]
    trained = [stage.groups for stage in stages for _ in range(stage.epochs)]
    note = _unfreezing_note(stages, groups)
    note += " The training loss has dropout, AR and TAR in it."
    if recipe.early_stopping:
        note += " The epoch with the lowest validation loss was kept."
    return StageCurves(
        title,
        note,
        [
            plots.curves(
                records,
                {key: "training", f"val_{key}": "validation"},
                key.replace("_", " "),
                moments,
                key != "loss",
            )
            for key in _figures(records[0])
        ]
        + [
            plots.rates(
                records, planned, groups, trained[: len(records)], moments
            )
        ],
    )


def _figures(record):
    """Names of what is measured on the training split, the loss first."""
    others = ("epoch", "step", "val_", "learning_rate")
    names = [name for name in record if not name.startswith(others)]
    return sorted(names, key=lambda name: (name != "loss", name))


def _planned(schedule_of_group, stages, group, steps_per_epoch):
    """Epochs and rates of a group, with gaps while it is frozen."""
    epochs, counted, start, done = [], [], 0, 0
    for stage in stages:
        steps = np.arange(stage.epochs * steps_per_epoch)
        if group in stage.groups:
            epochs += [*(start + steps / steps_per_epoch), np.nan]
            counted += [*(done + steps), np.nan]
            done += len(steps)
        start += stage.epochs
    rates = schedule_of_group(np.array(counted, "float32"))
    return np.array(epochs), ops.convert_to_numpy(rates)


def _moments(stages, epochs):
    starts = np.cumsum([stage.epochs for stage in stages[:-1]], dtype=int)
    return [int(start) for start in starts if start < epochs]


def _unfreezing_note(stages, groups):
    if len(stages) == 1:
        named = ", ".join(groups[group] for group in stages[0].groups)
        return f"Trained in every epoch: {named}."
    parts, epoch = [], 1
    for stage in stages:
        named = ", ".join(groups[group] for group in reversed(stage.groups))
        parts.append(f"from epoch {epoch} {named}")
        epoch += stage.epochs
    return f"Trained layers (dashed lines): {'; '.join(parts)}."


def _layers(num_groups):
    return ["embedding", *(f"LSTM {n}" for n in range(1, num_groups))]


def _num_groups(records):
    return sum(key.startswith("learning_rate/") for key in records[0])
