"""Does each part of the method help? The rows of the paper's tables 4 to 7.

python -m trainers.ablation --dataset trec6 --seeds 3
"""

import dataclasses
import difflib

import numpy as np

from trainers import command_line
from trainers.command_line import UserError
from trainers.experiments.command import (
    Experiment,
    add_scratch_flags,
    experiment_parser,
    parse,
    with_language_model_pinned,
)
from trainers.experiments.notes import (
    VALIDATION_NOTE,
    notes_of_tasks,
    scratch_note,
)
from trainers.experiments.paper_rows import ROWS

_NAME = "trainers.ablation"
_EXTENDABLE = ("--seeds", "--rows")
_NOTES = (
    "Validation errors in %, on {:,} of the labelled texts that each seed "
    "splits off anew. The paper's figures are those of Howard & Ruder (2018), "
    "tables 4 to 7: one run each, forward, from a language model of 103 "
    "million words.",
    "Rows without discriminative rates train at 0.001 (chain-thaw: 0.0001 "
    "below the head), as section 5 of the paper says. "
    '"Vanilla LM" starts from the same pretrained model as the other rows, and '
    "its stage three has at most five epochs, as in the paper, where "
    "the other rows may have several times as many. The cosine rises and falls "
    "once in each stage of unfreezing. Of both directions together the paper "
    "says that they gain 0.5 to 0.7 points (section 5).",
)


def parse_arguments(argv):
    names = [row.name for row in ROWS]
    parser = experiment_parser(_NAME, __doc__.splitlines()[0])
    parser.add_argument(
        "--rows",
        default=",".join(names),
        metavar="ROW,...",
        help="rows to train",
    )
    add_scratch_flags(parser)
    return parse(parser, argv, _EXTENDABLE, compares=True)


def main(argv):
    """Trains what is missing and writes the table after each cell."""
    arguments = parse_arguments(argv)
    experiment = Experiment(_NAME, arguments, argv, _EXTENDABLE)
    ablation = _Ablation(experiment)
    # What can fail for a user's mistake fails before the folder is made.
    task, recipe = experiment.task(0)
    experiment.open(data=task.fingerprint, recipe=dataclasses.asdict(recipe))

    from trainers.experiments.sharing import share_out

    # Seed after seed: a first table of all rows is there soon.
    jobs = {
        f"{row.name}-{seed}": (row, seed)
        for seed in experiment.seeds
        for row in ablation.wanted
    }

    def work(job):
        ablation.measure(*job)
        ablation.write()

    share_out(experiment.directory / "locks", jobs, work)
    figures = ablation.write()
    figures["seconds"] = ablation.cells.seconds()
    command_line.write_json(experiment.directory / "metrics.json", figures)
    return figures


class _Ablation:
    """The rows of an ablation.

    Attributes:
        wanted: Rows to train.

    Raises:
        UserError: If a setting does not fit, or no row can be trained.
    """

    def __init__(self, experiment):
        from trainers.experiments.cells import Cells

        self.experiment = experiment
        settings = experiment.settings
        asked = _rows(settings["rows"])
        if settings["pretrained"] == ["none"]:
            raise UserError(
                "`--pretrained none`: most rows compare ways of fine-tuning a "
                "pretrained model. Name one; the rows without pretraining do "
                "without it by themselves."
            )
        _check_overrides(experiment.overrides)
        self._missing = _missing_directions(
            experiment.namespace(0).pretrained, settings["pretrained"]
        )
        self._reasons = {}
        # They know what was trained before, by its content.
        self.cells = Cells(experiment.directory, patience=0.0)
        self._errors, self._cells_of = {}, {}
        self.wanted = [row for row in asked if not self.reason(row)]
        if not self.wanted:
            reasons = {self.reason(row) for row in asked}
            raise UserError("; ".join(sorted(reasons)))

    def reason(self, row):
        """Returns why a row is not trained, `""` if it is."""
        if row.name not in self._reasons:
            self._reasons[row.name] = self._find_reason(row)
        return self._reasons[row.name]

    def _find_reason(self, row):
        missing = self._missing
        reasons = [missing[each] for each in row.directions if each in missing]
        if reasons:
            return " ".join(reasons)
        epochs = self.experiment.overrides.get("language_model_epochs")
        if epochs == 0 and row.name in _OF_STAGE_TWO:
            return (
                "not run: with `--language-model-epochs 0` this is the same as "
                "the full method"
            )
        return self._too_few_epochs(row)

    def measure(self, row, seed):
        """Trains a row with a seed, unless it was done before."""
        for cell in self.cells_of(row, seed):
            self.cells.measure(cell)

    def cells_of(self, row, seed):
        """Returns a row's `Cell`s, one a direction."""
        from trainers.experiments.cells import Cell

        if (row.name, seed) not in self._cells_of:
            cells = []
            for direction in row.directions:
                task, recipe = self.experiment.task(
                    seed, direction, not row.pretrained
                )
                recipe = row.recipe(with_language_model_pinned(recipe))
                options = self.experiment.options(seed, direction)
                cells.append(Cell(task, recipe, options))
            self._cells_of[row.name, seed] = cells
        return self._cells_of[row.name, seed]

    def errors(self, row, seeds):
        """Returns a row's errors in per cent, one a seed that was trained.

        `None` stands for a seed with which training diverged.
        """
        if self.reason(row):
            return []
        for seed in seeds:
            if (row.name, seed) not in self._errors:
                self._look_up(row, seed)
        return [
            self._errors[row.name, seed]
            for seed in seeds
            if (row.name, seed) in self._errors
        ]

    def _look_up(self, row, seed):
        from trainers.experiments.cells import error_of

        wanted = self.cells_of(row, seed)
        records = [self.cells.find(cell) for cell in wanted]
        if None in records:
            return
        found = [record["validation_error"] for record in records]
        if None in found:
            # Of two directions that are averaged one may have diverged.
            error = None
        elif len(found) == 1:
            (error,) = found
        else:
            each = [self.cells.probabilities(record) for record in records]
            error = error_of(wanted[0].task, np.mean(each, axis=0))
        self._errors[row.name, seed] = error

    def _too_few_epochs(self, row):
        """Says why a row cannot be trained in its epochs; `""` if it can."""
        for cell in self.cells_of(row, 0):
            method = cell.recipe.unfreezing
            needed = cell.task.fewest_epochs(method)
            if cell.recipe.epochs < needed:
                file = self.experiment.scratch_recipe
                named = (
                    f"`--scratch-recipe {file}`: "
                    if file and not row.pretrained
                    else ""
                )
                return (
                    f"not run: row `{row.name}`: {named}unfreezing by "
                    f"{method!r} takes {needed} epochs or more, and there are "
                    f"{cell.recipe.epochs}"
                )
        return ""

    def write(self):
        """Writes the table of what there is; returns the figures.

        With the rows and seeds that other processes were asked for.
        """
        from trainers.experiments import tables

        experiment = self.experiment
        asked = experiment.asked_for()
        seeds = range(asked["seeds"])
        dataset = experiment.settings["dataset"]
        table = [
            {
                "table": row.table,
                "row": row.name,
                "title": row.title,
                "paper": row.paper_error(dataset),
                **tables.summary(self.errors(row, seeds)),
                **({"errors": self.reason(row)} if self.reason(row) else {}),
            }
            for row in _rows(asked["rows"])
        ]
        validation_texts = experiment.task(0)[0].validation_texts
        tables.write_table(
            experiment.directory / "ablation",
            f"{experiment.name}: what each part of the method does",
            {
                "table": "table",
                "row": "row",
                "title": "what",
                "paper": "paper",
                **tables.SUMMARY_COLUMNS,
            },
            table,
            [
                _NOTES[0].format(len(validation_texts)),
                *_NOTES[1:],
                VALIDATION_NOTE,
                scratch_note(experiment),
                *notes_of_tasks(experiment, seeds),
            ],
        )
        return {
            "dataset": dataset,
            "rows": {row["row"]: row.get("mean") for row in table},
            "run_dir": str(experiment.directory),
            "table": str(experiment.directory / "ablation.md"),
        }


# Rows that differ from the full method in stage two alone.
_OF_STAGE_TWO = ("no-lm-fine-tuning", "lm-full", "lm-full+discr")
# What rows differ in, and so cannot be set for all of them.
_ROWS_OWN = ("unfreezing", "schedule", "lower_learning_rate")
# With 1 they are switched off, which is what some rows are there for.
_SWITCHES = (
    "decay_factor",
    "ratio",
    "language_model_decay_factor",
    "language_model_ratio",
)


def _check_overrides(overrides):
    """Raises `UserError` if the user set what the rows are about."""
    wrong = [name for name in _ROWS_OWN if name in overrides]
    wrong += [name for name in _SWITCHES if overrides.get(name) == 1]
    if wrong:
        flags = ", ".join(f"`--{name.replace('_', '-')}`" for name in wrong)
        values = ", ".join(str(overrides[name]) for name in wrong)
        raise UserError(
            f"{flags} {values}: this is what the rows of the paper's tables "
            "differ in. Leave it out, from a `--recipe` file as well, and "
            "choose rows with `--rows`."
        )


def _rows(selected):
    by_name = {row.name: row for row in ROWS}
    names = [name for name in selected.split(",") if name]
    for name in names:
        if name not in by_name:
            close = difflib.get_close_matches(name, by_name, n=1)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise UserError(
                f"`--rows`: there is no row `{name}`.{hint} Expected some "
                f"of: {', '.join(by_name)}."
            )
    if not names:
        raise UserError("`--rows` names no row.")
    return [row for row in ROWS if row.name in names]


def _missing_directions(paths, names):
    """Why directions cannot be trained, by direction.

    Args:
        paths: Names and folders of pretrained models.
        names: The same as the user gave them.
    """
    reasons = {}
    for direction in ("forward", "backward"):
        try:
            command_line.load_language_model(paths, direction)
        except UserError:
            if direction == "forward":
                raise
            reasons[direction] = (
                f"not run: `{' '.join(names)}` has no {direction} language "
                "model"
            )
    return reasons


if __name__ == "__main__":
    command_line.run(main)
