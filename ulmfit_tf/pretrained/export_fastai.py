"""Exports a language model in fastai 2's format.

python -m ulmfit_tf.pretrained.export_fastai compact --output fastai_compact
"""

import argparse
import json
import pathlib
import pickle
import sys

from ulmfit_tf import text
from ulmfit_tf.pretrained.directories import new_directory
from ulmfit_tf.pretrained.fastai_format import export_weights
from ulmfit_tf.pretrained.language_model_files import load_pretrained
from ulmfit_tf.pretrained.torch_writer import write_state_dict

_NAMES = {"forward": "lstm_fwd", "backward": "lstm_bwd"}


def parse_arguments(argv):
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m ulmfit_tf.pretrained.export_fastai",
        description="Writes a language model as fastai 2 keeps its own: "
        "weights (.pth) and vocabulary (itos.pkl), for the "
        "`pretrained_fnames` of `language_model_learner`. Its `config` must "
        "have the sizes that are printed.",
    )
    parser.add_argument("pretrained", metavar="NAME_OR_DIR")
    parser.add_argument("--output", required=True, help="new folder")
    parser.add_argument("--direction", choices=tuple(_NAMES), default="forward")
    return parser.parse_args(argv)


def main(argv=None):
    """Runs the command line; returns its exit status."""
    arguments = parse_arguments(argv)
    try:
        model = load_pretrained(arguments.pretrained, arguments.direction)
        figures = export_language_model(model, arguments.output)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures))
    return 0


def export_language_model(model, output):
    """Writes a language model to a new folder, whole or not at all.

    Args:
        model: `PretrainedLanguageModel` of words.
        output: Path of the folder, which does not exist yet.

    Returns:
        Dict, JSON-serializable: the files and fastai's `config` of sizes.

    Raises:
        ValueError: If the vocabulary is of SentencePiece pieces.
        FileExistsError: If the folder exists.
    """
    if not isinstance(model.tokenizer, text.WordTokenizer):
        raise ValueError(
            "Only language models of words can be exported: fastai loads a "
            "SentencePiece model together with its learner."
        )
    output = pathlib.Path(output)
    weights = f"{_NAMES[model.direction]}.pth"
    with new_directory(output) as beside:
        write_state_dict(beside / weights, export_weights(model))
        # A list of strings and nothing else; protocol 2 as in PyTorch.
        words = pickle.dumps(list(model.tokenizer.vocabulary), protocol=2)
        (beside / "itos.pkl").write_bytes(words)
    architecture = model.architecture
    return {
        "weights": str(output / weights),
        "vocabulary": str(output / "itos.pkl"),
        "config": {
            "emb_sz": architecture.embedding_units,
            "n_hid": architecture.hidden_units,
            "n_layers": architecture.num_layers,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
