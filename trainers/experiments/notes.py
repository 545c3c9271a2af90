"""What stands below the tables of experiments: of data and baselines."""

import re

from trainers.recipes import TASK_FIELDS

# Of experiments that split a data set anew with each seed.
VALIDATION_NOTE = (
    "The vocabulary and the language model of stage two have read the "
    "validation texts, without their labels, as they have all other texts of "
    "the task; stage three has not."
)
_EARLY_STOPPING_NOTE = (
    "With `--early-stopping` the epoch of the lowest loss on these validation "
    "texts is taken: their errors flatter."
)
# As `ulmfit_tf.data` says it.
_TEST_COPIES = re.compile(r"\d+ of the \d+ test texts of ")


def task_notes(experiment, notes_by_seed):
    """Returns what a table says of the data and of how answers are judged.

    Args:
        experiment: `Experiment`.
        notes_by_seed: List of each seed's notes, see `TextDataset`.
    """
    from trainers.experiments.validation import THRESHOLDS_NOTE

    common = [
        note
        for note in notes_by_seed[0]
        if all(note in notes for notes in notes_by_seed)
    ]
    # No table has errors of test texts.
    notes = [note for note in common if not _TEST_COPIES.match(note)]
    notes += [
        f"Seed {seed}: {note}"
        for seed, own in enumerate(notes_by_seed)
        for note in own
        if note not in common
    ]
    if experiment.settings["multi_label"]:
        notes.append(THRESHOLDS_NOTE)
    if experiment.recipe().early_stopping:
        notes.append(_EARLY_STOPPING_NOTE)
    return notes


def notes_of_tasks(experiment, seeds):
    """Returns `task_notes` of experiments that split the data by the seed."""
    return task_notes(
        experiment,
        [experiment.task(seed)[0].dataset.notes for seed in seeds],
    )


def scratch_note(experiment):
    """Returns what a table says of what starts from scratch."""
    sizes = experiment.scratch_architecture
    if sizes is None:
        preset = experiment.settings["preset"]
        described = f"the sizes of `--preset {preset}`"
    else:
        described = (
            "the sizes of the pretrained model that it is compared with "
            f"({sizes.num_layers} layers, {sizes.hidden_units} hidden and "
            f"{sizes.embedding_units} embedding units)"
        )
    own = experiment.settings["scratch_overrides"]
    given = ", ".join(f"{name} {value}" for name, value in own.items())
    return (
        f"What starts without a pretrained model has {described}, and a recipe "
        "of its own, FROM_SCRATCH in trainers/recipes.py"
        f"{', with ' + given if given else ''}: what was set for the method "
        "does not change it, but for what both read and answer by: "
        f"{', '.join(TASK_FIELDS)}."
    )
