"""Trains a prepared language model run on another machine.

python -m trainers.language_model --corpus TEXT --output runs/lm --prepare
KERAS_BACKEND=jax python -m trainers.train_on_ids runs/lm   # there
python -m trainers.language_model --resume runs/lm

A prepared run folder holds all that training needs: the settings, the text as
token ids, the weights to start from. So the middle command needs neither the
text nor TensorFlow, only Keras with a backend that reaches the accelerator.
What it leaves is the training state, with which `--resume` goes on; there the
language model is written, once the training has ended.
"""

import argparse
import dataclasses
import pathlib
import types

import numpy as np

from trainers import command_line
from trainers.language_model_arguments import recipe_of
from trainers.locks import run_locked
from trainers.run_clock import RunClock
from ulmfit_tf.data.token_cache import TokenizedCorpus
from ulmfit_tf.whole_files import (
    DAMAGE,
    DamagedFile,
    write_arrays,
    written_whole,
)

_FILE = "ids.npz"
_PARTS = ("train", "validation")
# Ids written at once, so that memory does not grow with the text.
_BLOCK = 2**22


def main(argv):
    parser = argparse.ArgumentParser(
        prog="python -m trainers.train_on_ids",
        description="Trains a language model from a run folder that "
        "`trainers.language_model --prepare` has made, without TensorFlow "
        "where Keras has another backend (KERAS_BACKEND=jax).",
        allow_abbrev=False,
    )
    parser.add_argument("run", help="prepared run folder")
    directory = pathlib.Path(parser.parse_args(argv).run)
    try:
        is_prepared = (directory / _FILE).exists()
    except OSError:
        # Of a name that is too long, or a folder that may not be read.
        is_prepared = False
    if not is_prepared:
        raise command_line.UserError(
            f"`{directory}` has no `{_FILE}`: it is no prepared run. Make one "
            "with `python -m trainers.language_model ... --prepare --output "
            f"{directory}`, and copy the folder as a whole."
        )
    if not (directory / "config.json").exists():
        raise command_line.UserError(
            f"`{directory}` has no `config.json`. Copy the folder as a whole."
        )
    config = directory / "config.json"
    try:
        settings = types.SimpleNamespace(**command_line.read_json(config))
    except (TypeError, ValueError) as error:
        raise DamagedFile(config, error) from error
    command_line.check_run_version(directory, vars(settings))
    with run_locked(directory), RunClock(directory) as clock:
        records = _train(settings, directory)
    return {
        "validation_perplexity": round(
            min(record["val_perplexity"] for record in records), 3
        ),
        "seconds": clock.seconds(),
        "run_dir": str(directory),
    }


def write_prepared(directory, architecture, corpus):
    """Writes what `trainers.train_on_ids` needs beside the settings.

    Args:
        directory: `pathlib.Path` of the run folder.
        architecture: `models.Architecture`.
        corpus: `CorpusText`.
    """
    vocabulary_size = len(corpus.tokenizer.vocabulary)
    # Ids of two bytes take half the time to copy.
    few = vocabulary_size <= np.iinfo("uint16").max
    arrays = {
        "vocabulary_size": vocabulary_size,
        **{
            f"architecture/{name}": value
            for name, value in dataclasses.asdict(architecture).items()
        },
        **{f"weights/{k}": v for k, v in (corpus.weights or {}).items()},
    }
    for name in _PARTS:
        part = getattr(corpus, name)
        arrays[f"{name}/offsets"] = part.offsets
        _write_ids(
            _ids_file(directory, name),
            part.token_ids,
            "uint16" if few else "int32",
        )
    # The last, as it tells that the run is prepared.
    write_arrays(directory / _FILE, arrays)


def _ids_file(directory, name):
    return directory / f"{name}_ids.npy"


def _write_ids(path, token_ids, dtype):
    """Writes ids, of which the text may have more than memory holds."""
    with written_whole(path) as beside:
        ids = np.lib.format.open_memmap(
            beside, mode="w+", dtype=dtype, shape=token_ids.shape
        )
        for first in range(0, len(ids), _BLOCK):
            block = slice(first, first + _BLOCK)
            ids[block] = token_ids[block]
        ids.flush()


@dataclasses.dataclass(frozen=True)
class _Words:
    """Stands for a tokenizer, of which training needs the number of words."""

    vocabulary: range


def _train(settings, directory):
    # Keras comes in here, after mistakes have been told.
    from trainers.language_model_stage import train_language_model
    from trainers.run_options import RunOptions
    from ulmfit_tf import models

    try:
        with np.load(directory / _FILE, allow_pickle=False) as file:
            arrays = dict(file)
    except DAMAGE as error:
        raise DamagedFile(directory / _FILE, error) from error
    architecture = models.Architecture(**_under("architecture", arrays, int))
    train, validation = (
        _read_part(_ids_file(directory, name), arrays[f"{name}/offsets"])
        for name in _PARTS
    )
    _, records = train_language_model(
        architecture,
        _Words(range(int(arrays["vocabulary_size"]))),
        _under("weights", arrays) or None,
        train,
        validation,
        recipe_of(vars(settings)),
        directory / "training",
        RunOptions.of_run(settings, directory),
    )
    return records


def _read_part(path, offsets):
    """Returns a `TokenizedCorpus` whose ids stay on disk."""
    try:
        # An array of the base class: the other's slices take longer.
        token_ids = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        if token_ids.shape != (offsets[-1],):
            raise ValueError(
                f"{token_ids.shape} ids, where {offsets[-1]} are expected"
            )
    except DAMAGE as error:
        raise DamagedFile(path, error) from error
    return TokenizedCorpus(token_ids, offsets)


def _under(prefix, arrays, kind=lambda value: value):
    """Returns the arrays whose name begins with a prefix, without it."""
    return {
        name.removeprefix(f"{prefix}/"): kind(value)
        for name, value in arrays.items()
        if name.startswith(f"{prefix}/")
    }


if __name__ == "__main__":
    command_line.run(main)
