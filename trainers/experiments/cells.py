"""Cells of an experiment: one recipe, one seed, trained and measured once."""

import dataclasses
import functools
import gc
import hashlib
import json
import logging
import math
import pathlib

import keras
import numpy as np

from trainers.experiments.ledger import Ledger
from trainers.experiments.validation import validation_error
from trainers.locks import locked
from trainers.preparation import Task
from trainers.recipes import Recipe
from trainers.run_clock import RunClock
from trainers.run_options import RunOptions
from trainers.stages import (
    fine_tune_classifier,
    fine_tune_language_model,
    language_model_recipe,
    starting_weights,
    trained_classifier,
)
from ulmfit_tf.whole_files import written_whole

_log = logging.getLogger("trainers")


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """Everything that determines one trained classifier.

    Attributes:
        task: `Task`.
        recipe: `Recipe`.
        options: `RunOptions`.
        validate: Bool, whether the validation split is measured after each
            epoch; at the end it is in any case.
    """

    task: Task
    recipe: Recipe
    options: RunOptions
    validate: bool = True

    @functools.cached_property
    def key(self) -> str:
        """Str, equal for cells that are trained to the same weights."""
        return digest(
            self.task.fingerprint,
            dataclasses.asdict(self.recipe),
            self.language_model_key,
            *self._start,
            len(self.task.validation_texts),
        )

    @functools.cached_property
    def language_model_key(self) -> str | None:
        """Str, equal for cells that share stage two; `None` without it."""
        if not self.recipe.language_model_epochs:
            return None
        corpus = self.task.corpus
        first, last = corpus.offsets[[0, -1]]
        return digest(
            corpus.token_ids[first:last],
            corpus.offsets - first,
            dataclasses.asdict(
                language_model_recipe(
                    self.task, self.recipe, self.options.direction
                )
            ),
            *self._start,
        )

    @property
    def _start(self):
        """What stages two and three both start with.

        Not cached as the keys are: every cell would keep a copy of the weights.
        """
        weights = starting_weights(self.task, self.options.direction) or {}
        return (
            self.task.tokenizer.vocabulary.fingerprint(),
            dataclasses.asdict(self.task.architecture),
            *(weights[name] for name in sorted(weights)),
            self.options.direction,
            self.options.seed,
            self.options.policy,
            self.options.num_replicas,
        )


class Cells:
    """Trains cells in a folder, each of them once.

    The folder may be shared by several processes, and any of them killed: a
    cell goes on where it stopped, and what is in the ledger stays there.

    Args:
        directory: Path of the experiment's run folder.
        patience: Float, seconds to wait for another process that trains the
            same cell or the same stage two.
    """

    def __init__(self, directory, patience=math.inf):
        self.directory = pathlib.Path(directory)
        self.patience = patience
        self.ledger = Ledger(self.directory / "cells.jsonl")

    def measure(self, cell, model=None):
        """Returns a cell's record, training it if need be.

        Args:
            cell: `Cell`.
            model: Optional, see `fine_tune_classifier`.

        Returns:
            Dict with `validation_error` in per cent, or `None` where training
            diverged, `seconds` of stage three, `language_model_seconds` of
            stage two, which other cells may share, and what the cell was.

        Raises:
            Held: If another process is at it for longer than `patience`.
        """
        with self._locked(cell.key):
            record = self.ledger.find(cell.key)
            if record is None:
                record = self._train(cell, model)
                self.ledger.append(record)
            _remove_states(self._stage(cell.key))
        return record

    def find(self, cell):
        """Returns a cell's record, or `None` if it was not measured yet."""
        return self.ledger.find(cell.key)

    def seconds(self):
        """Returns the seconds of all training so far, of all processes."""
        records = self.ledger.records().values()
        language_models = {
            record["language_model"]: record["language_model_seconds"]
            for record in records
        }
        stages = [record["seconds"] for record in records]
        return round(sum(stages) + sum(language_models.values()), 1)

    def probabilities(self, record):
        """Returns the validation split's, float32 `(texts, classes)`."""
        return np.load(self._probabilities(record["key"]))

    def _locked(self, key):
        return locked(self.directory / "locks" / key, self.patience)

    def _stage(self, key):
        """Folder of a stage's training state and TensorBoard logs."""
        return self.directory / "stages" / key

    def _probabilities(self, key):
        return self.directory / "probabilities" / f"{key}.npy"

    def _train(self, cell, model):
        try:
            encoder = self._encoder(cell)
            with RunClock(self._stage(cell.key)):
                result = {"validation_error": self._error(cell, encoder, model)}
        except FloatingPointError as error:
            # That a recipe diverges is a result as well.
            _log.warning("diverged: %s", error)
            result = {"validation_error": None, "diverged": str(error)}
        finally:
            # Models of earlier cells would add up.
            keras.backend.clear_session()
            gc.collect()
        return {
            "key": cell.key,
            **result,
            "seconds": self._seconds(cell.key),
            "language_model_seconds": self._seconds(cell.language_model_key),
            "seed": cell.options.seed,
            "direction": cell.options.direction,
            "language_model": cell.language_model_key,
            "recipe": dataclasses.asdict(cell.recipe),
        }

    def _error(self, cell, encoder, model):
        """Trains stage three, keeps probabilities and returns the error."""
        task, recipe, options = cell.task, cell.recipe, cell.options
        weights, _ = fine_tune_classifier(
            task,
            recipe,
            encoder,
            self._stage(cell.key),
            options,
            model,
            cell.validate,
        )
        weights = {options.direction: weights}
        classifier = trained_classifier(task, recipe, weights, options.seed)
        probabilities = classifier.predict(task.validation_texts)
        if not np.isfinite(probabilities).all():
            raise FloatingPointError(
                "The classifier's probabilities are not finite."
            )
        path = self._probabilities(cell.key)
        _write(path, lambda file: np.save(file, probabilities))
        return error_of(task, probabilities)

    def _seconds(self, key):
        """Returns the seconds of a stage's training, 0 if there was none."""
        return 0.0 if key is None else RunClock(self._stage(key)).seconds()

    def _encoder(self, cell):
        """The weights that stage three starts from."""
        key = cell.language_model_key
        if key is None:
            return starting_weights(cell.task, cell.options.direction)
        path = self.directory / "language_models" / f"{key}.npz"
        diverged = path.with_suffix(".diverged")
        with self._locked(key):
            if path.exists():
                _log.info("stage two: done before")
            elif diverged.exists():
                raise FloatingPointError(diverged.read_text("utf-8"))
            else:
                try:
                    with RunClock(self._stage(key)):
                        weights, _ = fine_tune_language_model(
                            cell.task,
                            cell.recipe,
                            self._stage(key),
                            cell.options,
                        )
                except FloatingPointError as error:
                    # It would for every other cell that shares it.
                    reason = str(error).encode("utf-8", "replace")
                    _write(diverged, lambda file: file.write(reason))
                    raise
                _write(path, lambda file: np.savez(file, **weights))
            _remove_states(self._stage(key))
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def error_of(task, probabilities):
    """Returns the error in per cent on a task's validation split."""
    return validation_error(
        task.dataset,
        task.validation_texts,
        task.validation_labels,
        probabilities,
    )


def digest(*parts):
    """Returns a short str that differs if parts do, arrays or JSON."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(np.ascontiguousarray(part).tobytes())
        else:
            state.update(json.dumps(part, sort_keys=True).encode())
        # What ends one part does not begin the next.
        state.update(b"\0")
    return state.hexdigest()[:16]


def _remove_states(folder):
    """Removes what is of no more use once the result is written."""
    for path in folder.glob("*.npz*"):
        path.unlink()


def _write(path, write):
    with written_whole(path) as beside, open(beside, "wb") as file:
        write(file)
