"""Imports an AWD-LSTM language model of fastai's.

python -m ulmfit_tf.pretrained.import_fastai wt103-fwd.tgz --output wt103_fwd
"""

import argparse
import contextlib
import hashlib
import io
import json
import lzma
import pathlib
import re
import sys
import tarfile
import tempfile
import zlib

from ulmfit_tf.data.archives import read_members
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.files import open_binary
from ulmfit_tf.pretrained import fastai_format
from ulmfit_tf.pretrained.directories import check_new
from ulmfit_tf.pretrained.fastai_vocabulary import read_words
from ulmfit_tf.pretrained.pickle_reader import MAX_BYTES
from ulmfit_tf.pretrained.torch_reader import TorchFile

_ARCHIVES = (".tgz", ".tar.gz", ".tar.xz", ".tar")
_WEIGHTS = (".pth", ".pt", ".h5")
# macOS adds `._NAME` files; they hold nothing of the model.
_MEMBERS = re.compile(r"(?:.*/)?(?!\._)[^/]*\.(?:pth|pt|h5|pkl)")
# A 60,000-word model of 1,152 units with its optimizer's state is 0.6 GB.
_LARGEST_WEIGHTS = 2 << 30
# Of files of which there should be one.
_MOST_NAMED = 5

_CARD = """# {name}, {direction}

An AWD-LSTM language model imported from fastai: embedding
{embedding_units}, {num_layers} LSTM layers (hidden {hidden_units}), {size}
words.

- Weights: `{weights}`, SHA-256 `{weights_hash}`.
- Vocabulary: `{vocabulary}`, SHA-256 `{vocabulary_hash}`.
- Data and licence: those of the original model; fastai's own
  (`wt103-fwd.tgz`, `wt103-bwd.tgz`) were trained on WikiText-103, Wikipedia
  text under CC BY-SA 3.0.

The logits are fastai's for the same tokens. The tokens are not always the
same: fastai splits words with spaCy, this project with a reimplementation in
TensorFlow's string operations that differs on 1 to 2 tokens in a hundred.
Letters are made small and capitals marked with xxmaj and xxup, unless the
vocabulary is cased. White space is no token here; where fastai's vocabulary
has line breaks, their share of the probability is lost.
{notes}"""


def parse_arguments(argv):
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m ulmfit_tf.pretrained.import_fastai",
        description="Turns an AWD-LSTM language model of fastai 1 or 2 into a "
        "model directory, for `--pretrained`. Needs neither fastai nor "
        "PyTorch, and runs nothing of what the files hold.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="ARCHIVE_OR_FILE",
        help="an archive such as wt103-fwd.tgz, or the weights (.pth) and the "
        "vocabulary (itos.pkl)",
    )
    parser.add_argument("--output", required=True, help="new model directory")
    parser.add_argument(
        "--direction",
        choices=("forward", "backward"),
        help="how the model reads; told from `fwd` or `bwd` in a file's name "
        "otherwise",
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Runs the command line; returns its exit status."""
    arguments = parse_arguments(argv)
    try:
        figures = import_files(
            arguments.sources, arguments.output, arguments.direction
        )
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures))
    return 0


def import_files(sources, output, direction=None):
    """Imports a model from files into a new model directory.

    Args:
        sources: List of one archive, or of the paths of weights and
            vocabulary.
        output: Path of the model directory, which does not exist yet.
        direction: `"forward"`, `"backward"`, or `None` to tell it from the
            files' names.

    Returns:
        Dict of what was imported, JSON-serializable.

    Raises:
        DataError: If the files cannot be used. Nothing is written then.
        FileExistsError: If the directory exists.
    """
    output = pathlib.Path(output)
    check_new(output)
    with contextlib.ExitStack() as stack:
        files = _open_files([pathlib.Path(each) for each in sources], stack)
        (weights_name, weights_file), (words_name, words_file) = files
        direction = direction or _direction([weights_name, words_name])
        words = read_words(words_file, words_name)
        weights = fastai_format.read_weights(
            TorchFile(weights_file, weights_name), weights_name
        )
        imported = fastai_format.import_language_model(
            weights, words, direction, words_name
        )
        model = imported.model
        card = _CARD.format(
            name=output.name,
            direction=direction,
            size=len(model.tokenizer.vocabulary),
            weights=weights_name,
            weights_hash=_sha256(weights_file),
            vocabulary=words_name,
            vocabulary_hash=_sha256(words_file),
            notes="".join(f"\n- {note}" for note in imported.notes)
            + "\n" * bool(imported.notes),
            embedding_units=model.architecture.embedding_units,
            hidden_units=model.architecture.hidden_units,
            num_layers=model.architecture.num_layers,
        )
    model.save_to_preset(output, card)
    return {
        "language_model": str(output),
        "direction": direction,
        "vocabulary_size": len(model.tokenizer.vocabulary),
        **vars(model.architecture),
        "notes": imported.notes,
    }


def _open_files(paths, stack):
    """Returns `(name, file)` of the weights and of the vocabulary."""
    found = {"weights": [], "vocabulary": []}
    for path in paths:
        name = path.name.lower()
        if not path.is_file():
            raise DataError(
                f"There is no file `{path}`. Give an archive, or the weights "
                "(.pth) and the vocabulary (.pkl)."
            )
        if name.endswith(_ARCHIVES):
            _read_archive(path, found, stack)
        elif kind := _kind(name):
            file = stack.enter_context(open_binary(path))
            if kind == "vocabulary":
                file = _copy(file, path, stack)
            found[kind].append((path.name, file))
        else:
            raise DataError(
                f"`{path}` is neither an archive ({', '.join(_ARCHIVES)}) nor "
                f"weights ({', '.join(_WEIGHTS)}) nor a vocabulary (.pkl)."
            )
    for kind, files in found.items():
        if len(files) != 1:
            raise DataError(
                f"One file of {kind} is needed; found "
                f"{', '.join(name for name, _ in files) or 'none'}. Give one "
                "archive, or one .pth and one .pkl file."
            )
    return found["weights"][0], found["vocabulary"][0]


def _read_archive(path, found, stack):
    """Adds the names and contents of an archive's files to those found."""
    try:
        for member, content in read_members(path, _MEMBERS, _LARGEST_WEIGHTS):
            files = found[_kind(member)]
            # Of each kind one is copied; a second one is only named.
            file = None if files else _copy(content, member, stack)
            files.append((f"{path.name}:{member}", file))
            if len(files) > _MOST_NAMED:
                return
    except (EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"`{path}` is damaged or cut short: {error}. Delete it and fetch "
            "it again."
        ) from error


def _kind(name):
    name = str(name).lower()
    if name.endswith(".pkl"):
        return "vocabulary"
    return "weights" if name.endswith(_WEIGHTS) else None


def _copy(content, name, stack):
    """Copies a stream to a file that can be sought in, up to a limit."""
    is_vocabulary = _kind(name) == "vocabulary"
    limit = MAX_BYTES if is_vocabulary else _LARGEST_WEIGHTS
    new_file = io.BytesIO if is_vocabulary else tempfile.TemporaryFile
    file = stack.enter_context(new_file())
    while block := content.read(1 << 20):
        if file.tell() + len(block) > limit:
            raise DataError(
                f"`{name}` is larger than {limit:,} bytes, more than any such "
                "file of fastai's. Fetch it from its original source."
            )
        file.write(block)
    file.seek(0)
    return file


def _direction(names):
    words = set(re.split(r"[^a-z]+", " ".join(map(str, names)).lower()))
    told = {
        direction
        for direction, marks in (
            ("forward", {"fwd", "forward"}),
            ("backward", {"bwd", "backward"}),
        )
        if marks & words
    }
    if len(told) != 1:
        raise DataError(
            "The names of the files do not tell how the model reads. Pass "
            "`--direction forward` or `--direction backward`; fastai's own "
            "models have `fwd` or `bwd` in their names."
        )
    return told.pop()


def _sha256(file):
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
