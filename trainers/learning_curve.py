"""How few labels are enough? Validation error over the number of labels.

python -m trainers.learning_curve --dataset imdb --sizes 50,100,200,500,1000

How many texts each cell is measured on is `--validation-fraction` of them.
"""

import dataclasses

from trainers import command_line
from trainers.command_line import UserError
from trainers.experiments.command import (
    Experiment,
    add_scratch_flags,
    experiment_parser,
    parse,
)
from trainers.experiments.notes import (
    scratch_note,
    task_notes,
)

_NAME = "trainers.learning_curve"
_EXTENDABLE = ("--seeds", "--scratch-sizes")

_FROM_SCRATCH, _LINEAR = "from-scratch", "linear"
METHODS = {
    "supervised": "ULMFiT, supervised",
    "semi-supervised": "ULMFiT, with unlabelled texts",
    _FROM_SCRATCH: "from scratch",
    _LINEAR: "TF-IDF + linear SVM",
}


def parse_arguments(argv):
    parser = experiment_parser(_NAME, __doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--sizes",
        default="50,100,200,500,1000",
        metavar="N,...",
        help="numbers of labels",
    )
    add(
        "--scratch-sizes",
        metavar="N,...",
        help="numbers of labels of the methods without a pretrained model, "
        "which may need more for the same error; default: --sizes",
    )
    add(
        "--methods",
        default=",".join(METHODS),
        metavar="METHOD,...",
        help="what to compare",
    )
    add(
        "--unlabelled-limit",
        type=int,
        help="texts without a label that are used at most, drawn by the seed",
    )
    add_scratch_flags(parser)
    return parse(parser, argv, _EXTENDABLE, compares=True)


def main(argv):
    """Trains what is missing; writes table and plot after each seed."""
    arguments = parse_arguments(argv)
    experiment = Experiment(_NAME, arguments, argv, _EXTENDABLE)
    curve = _LearningCurve(experiment)
    experiment.open(data=curve.data.fingerprint, recipe=curve.recipe_facts)
    from trainers.experiments.sharing import share_out

    jobs = {
        f"{method}-{size}-{seed}": (method, size, seed)
        for seed in experiment.seeds
        for size in sorted({*curve.sizes, *curve.scratch_sizes})
        for method in curve.methods
        if size in curve.sizes_of(method)
    }

    def work(job):
        curve.measure(*job)
        curve.write()

    share_out(experiment.directory / "locks", jobs, work)
    figures = curve.write()
    figures["seconds"] = curve.cells.seconds()
    command_line.write_json(experiment.directory / "metrics.json", figures)
    return figures


class _LearningCurve:
    """The cells of a learning curve.

    Raises:
        UserError: If a setting does not fit.
        DataError: If the data have too few examples.
    """

    def __init__(self, experiment):
        from trainers.experiments.cells import Cells
        from trainers.experiments.label_subsets import LabelSubsets
        from trainers.experiments.ledger import Ledger

        self.experiment = experiment
        settings = experiment.settings
        self.sizes = _sizes("--sizes", settings["sizes"])
        if experiment.stored and settings.get("scratch_sizes"):
            # Without the flag they were those of `--sizes`, which stay.
            before = experiment.stored.get("scratch_sizes")
            settings["scratch_sizes"] += f",{before or settings['sizes']}"
        self.methods = _methods(settings["methods"])
        limit = settings["unlabelled_limit"]
        if limit is not None and limit < 0:
            raise UserError(
                f"`--unlabelled-limit` must be at least 0. Received: {limit}."
            )
        self.limit = limit
        self._measured = {}
        if any(
            self._recipe(method).early_stopping
            for method in self.methods
            if method != _LINEAR
        ):
            raise UserError(
                "`--early-stopping` looks at labels beyond those that a "
                "learning curve counts. Leave it out."
            )
        self.data = LabelSubsets(
            experiment.dataset(),
            self._recipe("supervised").validation_fraction,
            self.sizes[-1],
            limit,
        )
        for size in (*self.sizes, *self.scratch_sizes):
            # Raises for a number that the data do not have, which with
            # several labels a text depends on the draw.
            for seed in experiment.seeds:
                self.data.labelled(size, seed)
        self._notes_of_unknown = set()
        for method in self.methods:
            if method != _LINEAR:
                # The smallest task has all that can be wrong with a setting.
                with experiment.named_mistakes(method == _FROM_SCRATCH):
                    cell = self._cell(method, self.sizes_of(method)[0], 0)
                self._notes_of_unknown.add(self._note_of_unknown(cell.task))
        self.cells = Cells(experiment.directory, patience=0.0)
        self.results = Ledger(experiment.directory / "linear.jsonl")

    @property
    def scratch_sizes(self):
        """Sizes from scratch, with what other processes were asked for."""
        settings = self.experiment.settings
        others = settings.get("scratch_sizes") or settings["sizes"]
        return _sizes("--scratch-sizes", others)

    def sizes_of(self, method):
        """Returns the numbers of labels that a method is trained with."""
        return (
            self.scratch_sizes
            if method in (_FROM_SCRATCH, _LINEAR)
            else self.sizes
        )

    @property
    def errors(self):
        """Dict from methods and sizes to errors in per cent, by seed."""
        errors: dict[tuple, list] = {}
        for (method, size, _), error in sorted(
            self._measured.items(), key=lambda item: item[0][2]
        ):
            errors.setdefault((method, size), []).append(error)
        return errors

    def measure(self, method, size, seed):
        """Trains and measures a cell, unless it was done before."""
        record = (
            self._linear(size, seed)
            if method == _LINEAR
            else self.cells.measure(self._cell(method, size, seed))
        )
        self._measured[method, size, seed] = record["validation_error"]

    def _linear(self, size, seed):
        from trainers.experiments.cells import digest
        from trainers.experiments.linear import linear_probabilities
        from trainers.experiments.validation import validation_error

        dataset = self.data.labelled(size, seed)
        texts, labels = dataset.train_texts, dataset.train_labels
        validation = self.data.validation_texts, self.data.validation_labels
        key = digest(texts, labels, *validation)
        record = self.results.find(key)
        if record is None:
            probabilities = linear_probabilities(
                texts, labels, validation[0], len(dataset.classes)
            )
            error = validation_error(dataset, *validation, probabilities)
            record = {"key": key, "validation_error": error}
            self.results.append(record)
        return record

    @property
    def recipe_facts(self):
        """What is trained, for `Experiment.open`."""
        return dataclasses.asdict(self._recipe("supervised"))

    def _recipe(self, method):
        recipe = self.experiment.recipe(method == _FROM_SCRATCH)
        if method == _FROM_SCRATCH:
            recipe = dataclasses.replace(recipe, language_model_epochs=0)
        return recipe

    def _cell(self, method, size, seed):
        from trainers.experiments.cells import Cell
        from trainers.preparation import prepare_split_task

        dataset = self.data.labelled(size, seed)
        if method != "semi-supervised":
            dataset = dataclasses.replace(dataset, unlabelled_texts=[])
        from_scratch = method == _FROM_SCRATCH
        recipe = self._recipe(method)
        task = prepare_split_task(
            dataset,
            self.data.validation_texts,
            self.data.validation_labels,
            recipe,
            self.experiment.namespace(seed, from_scratch=from_scratch),
        )
        # In an order that does not tell which texts have a label, so that
        # all sizes share stage two.
        order = sorted(
            range(len(task.corpus)), key=lambda i: task.corpus[i].tobytes()
        )
        task = dataclasses.replace(task, corpus=task.corpus.select(order))
        return Cell(
            task,
            self.experiment.fitted(recipe, task, from_scratch),
            self.experiment.options(seed),
            # No label but those that count is looked at.
            validate=False,
        )

    def write(self):
        """Writes table and plot of what there is; returns the figures.

        Nothing is written where another process does more seeds or sizes: it
        writes these as well.
        """
        from trainers.experiments import plots, tables

        directory = self.experiment.directory
        name = self.experiment.name
        rows = [
            {
                "method": METHODS[method],
                "labels": size,
                **tables.summary(self.errors[method, size]),
            }
            for method in self.methods
            for size in self.sizes_of(method)
            if (method, size) in self.errors
        ]
        curves = {
            METHODS[method]: [
                (size, self.errors[method, size])
                for size in self.sizes_of(method)
                if (method, size) in self.errors
            ]
            for method in self.methods
        }
        curves = {method: curve for method, curve in curves.items() if curve}
        sentences = self._sentences(curves)
        figures = {
            "dataset": self.experiment.settings["dataset"],
            "sentences": sentences,
            "run_dir": str(directory),
            "table": str(directory / "learning_curve.md"),
            "plot": str(directory / "learning_curve.png"),
        }
        if self._is_part():
            return figures
        tables.write_table(
            directory / "learning_curve",
            f"{name}: validation error over the number of labels",
            {
                "method": "method",
                "labels": "labels",
                **tables.SUMMARY_COLUMNS,
            },
            rows,
            [*sentences, *self._notes()],
        )
        plots.learning_curve(
            directory / "learning_curve.png",
            f"{name}, mean and range of seeds",
            curves,
        )
        return figures

    def _is_part(self):
        """Whether the folder was asked for more since this process began."""
        asked = self.experiment.asked_for()
        others = asked.get("scratch_sizes") or asked["sizes"]
        more = set(_sizes("--scratch-sizes", others)) - {*self.scratch_sizes}
        return bool(more) or asked["seeds"] > len(self.experiment.seeds)

    def _sentences(self, curves):
        from trainers.experiments.label_efficiency import sentence
        from trainers.experiments.tables import ended

        scratch = curves.get(METHODS[_FROM_SCRATCH], ())
        if not any(ended(errors) for _, errors in scratch):
            return []
        # The paper tells it of 100 labels (section 5, "Low-shot learning").
        size = min(self.sizes, key=lambda each: abs(each - 100))
        return [
            sentence(
                METHODS[method],
                size,
                METHODS[_FROM_SCRATCH],
                scratch,
                self.errors[method, size],
            )
            for method in ("supervised", "semi-supervised")
            if ended(self.errors.get((method, size), ()))
        ]

    def _notes(self):
        from trainers.preparation import note_of_repeated

        validated = len(self.data.validation_texts)
        repeated = note_of_repeated(self.data.validation_texts, self.data.pool)
        if repeated:
            repeated += " Those that lose their label are left out."
        notes = [*self.data.pool.notes, repeated, *self._notes_of_unknown]
        return [
            f"Errors in %, on the same {validated:,} texts throughout, "
            f"{self._note_of_stage_two()} From "
            "scratch: no pretraining and no fine-tuning of a language model. "
            "Labels that one method matches in another's are interpolated "
            "over the logarithm of their number.",
            scratch_note(self.experiment),
            *task_notes(self.experiment, [[*filter(None, notes)]]),
        ]

    def _note_of_unknown(self, task):
        from trainers.preparation import note_of_unknown

        (direction,) = task.directions
        return note_of_unknown(
            task.corpus, task.tokenizer, task.language_models[direction]
        )

    def _note_of_stage_two(self):
        """Says what the language models have read, in the notes' sentence."""
        if not self._recipe("supervised").language_model_epochs:
            names = " ".join(self.experiment.settings["pretrained"])
            return (
                "which stage three never sees. There is no stage two "
                "(`--language-model-epochs 0`): whether the language model "
                f"`{names}` has read these or other texts of the task, is not "
                "known here."
            )
        unlabelled = len(self.data.pool.unlabelled_texts)
        total = len(self.data.pool.train_texts) + unlabelled
        limit = (
            ""
            if self.limit is None
            else f", of which at most {self.limit:,} beyond the "
            f"{self.sizes[-1]:,} of the largest size are used, drawn by the "
            "seed"
        )
        return (
            "which stages two and three never see. There are "
            f"{total:,} texts to fine-tune the language model on{limit}."
        )


def _sizes(flag, text):
    try:
        sizes = sorted({int(part) for part in text.split(",") if part})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 1:
        raise UserError(
            f"`{flag}` takes numbers of labels, separated by commas, such as "
            f"50,100,200. Received: {text}."
        )
    return sizes


def _methods(text):
    names = [name for name in text.split(",") if name]
    wrong = [name for name in names if name not in METHODS]
    if wrong or not names:
        raise UserError(
            "`--methods` takes some of these, separated by commas: "
            f"{', '.join(METHODS)}. Received: {text}."
        )
    return [method for method in METHODS if method in names]


if __name__ == "__main__":
    command_line.run(main)
