"""Does each part of the method help? The rows of the paper's tables 4 to 7.

python -m trainers.ablation --dataset trec6 --seeds 3
"""

import dataclasses
import difflib
import logging
import time

import numpy as np

from trainers import command_line
from trainers.command_line import UserError
from trainers.experiments.command import (
    VALIDATION_NOTE,
    Experiment,
    add_scratch_flags,
    experiment_parser,
    parse,
    scratch_note,
    task_notes,
    with_language_model_pinned,
)
from trainers.experiments.paper_rows import ROWS

_NAME = "trainers.ablation"
_EXTENDABLE = ("--seeds", "--rows")
_log = logging.getLogger("trainers")
_NOTES = (
    "Validation errors in %, on {:,} of the labelled texts that each seed "
    "splits off anew. The paper's figures are those of Howard & Ruder (2018), "
    "tables 4 to 7: one run each, forward, from a language model of 103 "
    "million words.",
    "Rows without discriminative rates train at 0.001 (chain-thaw: 0.0001 "
    "below the head), as section 5 of the paper says. "
    'In "vanilla LM" the pretrained model itself was still trained with its '
    "dropouts, and stage three has at most five epochs, as in the paper, where "
    "the other rows may have several times as many. The cosine rises and falls "
    "once in each stage of unfreezing. Of both directions together the paper "
    "says that they gain 0.5 to 0.7 points (section 5).",
)


def parse_arguments(argv):
    names = [row.name for row in ROWS]
    parser = experiment_parser(_NAME, __doc__.splitlines()[0], seeds=3)
    parser.add_argument(
        "--rows",
        default=",".join(names),
        metavar="ROW,...",
        help="rows to train",
    )
    add_scratch_flags(parser)
    return parse(parser, argv, _EXTENDABLE)


def main(argv):
    """Trains what is missing and writes the table after each cell."""
    started = time.monotonic()
    arguments = parse_arguments(argv)
    experiment = Experiment(_NAME, arguments, argv, _EXTENDABLE)
    settings = experiment.settings
    rows = _rows(settings["rows"])
    if settings["pretrained"] == ["none"]:
        raise UserError(
            "`--pretrained none`: most rows compare ways of fine-tuning a "
            "pretrained model. Name one; the rows without pretraining do "
            "without it by themselves."
        )
    missing = _missing_directions(settings)
    reasons = {
        row.name: " ".join(missing[d] for d in row.directions if d in missing)
        for row in rows
    }
    # What can fail for a user's mistake fails before the folder is made.
    task, recipe = experiment.task(0)
    for row in rows:
        if not reasons[row.name]:
            reasons[row.name] = _too_few_epochs(experiment, row)
    if all(reasons.values()):
        raise UserError("; ".join(sorted(set(reasons.values()))))
    experiment.open(data=task.fingerprint, recipe=dataclasses.asdict(recipe))

    from trainers.experiments.cells import Cells

    # They know what was trained before, by its content.
    cells = Cells(experiment.directory)
    trained = [row for row in rows if not reasons[row.name]]
    total, number = len(experiment.seeds) * len(trained), 0
    errors = {row.name: [] for row in rows}
    # Seed after seed: a first table of all rows is there soon.
    for seed in experiment.seeds:
        for row in trained:
            number += 1
            _log.info(
                "cell %d of %d: row %s, seed %d", number, total, row.name, seed
            )
            errors[row.name].append(_error(experiment, cells, row, seed))
            figures = _write(experiment, rows, errors, reasons)
    figures = _write(experiment, rows, errors, reasons)
    figures["seconds"] = round(time.monotonic() - started, 1)
    command_line.write_json(experiment.directory / "metrics.json", figures)
    return figures


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


def _missing_directions(settings):
    """Why directions cannot be trained, by direction."""
    from ulmfit_tf import pretrained

    reasons = {}
    for direction in ("forward", "backward"):
        try:
            pretrained.load_pretrained(settings["pretrained"], direction)
        except ValueError as error:
            if direction == "forward":
                raise UserError(f"`--pretrained`: {error}") from error
            names = " ".join(settings["pretrained"])
            reasons[direction] = (
                f"not run: `{names}` has no {direction} language model"
            )
    return reasons


def _cells_of(experiment, row, seed):
    from trainers.experiments.cells import Cell

    cells = []
    for direction in row.directions:
        task, recipe = experiment.task(seed, direction, not row.pretrained)
        recipe = row.recipe(with_language_model_pinned(recipe))
        options = experiment.options(seed, direction)
        cells.append(Cell(task, recipe, options))
    return cells


def _too_few_epochs(experiment, row):
    """Says why a row cannot be trained in its epochs; `""` if it can."""
    from ulmfit_tf import training

    for cell in _cells_of(experiment, row, 0):
        try:
            training.unfreezing_stages(
                cell.recipe.unfreezing,
                cell.task.architecture.num_layers + 2,
                cell.recipe.epochs,
            )
        except ValueError as error:
            return f"not run: row `{row.name}`: {error}"
    return ""


def _error(experiment, cells, row, seed):
    """Trains a row with a seed; returns its error in per cent.

    Or `None`, where training diverged.
    """
    from trainers.experiments.cells import error_of

    wanted = _cells_of(experiment, row, seed)
    records = [cells.measure(cell) for cell in wanted]
    errors = [record["validation_error"] for record in records]
    if len(errors) == 1 or None in errors:
        # Of two directions that are averaged one may have diverged.
        return None if None in errors else errors[0]
    mean = np.mean([cells.probabilities(record) for record in records], axis=0)
    return error_of(wanted[0].task, mean)


def _write(experiment, rows, errors, reasons):
    from trainers.experiments import tables

    dataset = experiment.settings["dataset"]
    table = [
        {
            "table": row.table,
            "row": row.name,
            "title": row.title,
            "paper": row.paper_error(dataset),
            **tables.summary(errors[row.name]),
            **({"errors": reasons[row.name]} if reasons[row.name] else {}),
        }
        for row in rows
    ]
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
            _NOTES[0].format(len(experiment.task(0)[0].validation_texts)),
            *_NOTES[1:],
            VALIDATION_NOTE,
            scratch_note(experiment),
            *task_notes(experiment),
        ],
    )
    return {
        "dataset": dataset,
        "rows": {row["row"]: row.get("mean") for row in table},
        "run_dir": str(experiment.directory),
        "table": str(experiment.directory / "ablation.md"),
    }


if __name__ == "__main__":
    command_line.run(main)
