"""Word embeddings for TensorBoard's embedding projector."""

import pathlib

import numpy as np
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from ulmfit_tf import text
from ulmfit_tf.whole_files import written_whole

_WORDS = 2000
# The projector looks for this name in each folder of logs.
_CONFIG = "projector_config.pbtxt"


def write_projector(directory, embedding, vocabulary, token_ids):
    """Writes the embedding of a corpus' most frequent words.

    Args:
        directory: Folder of TensorBoard logs.
        embedding: Float array `(words, units)`.
        vocabulary: `Vocabulary` whose ids are the rows.
        token_ids: Int array of any length, the corpus.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    counts = np.bincount(token_ids, minlength=len(vocabulary))
    # Unknown words, marks of beginnings and the like are no words.
    counts[: len(text.SPECIAL_TOKENS)] = 0
    shown = np.argsort(-counts, kind="stable")[:_WORDS]
    shown = shown[counts[shown] > 0]
    tokens = vocabulary.tokens
    np.savetxt(
        directory / "embedding.tsv", embedding[shown], "%.4g", delimiter="\t"
    )
    rows = [f"{tokens[index]}\t{counts[index]}" for index in shown]
    words = "\n".join(["word\toccurrences", *rows])
    (directory / "words.tsv").write_text(words + "\n", encoding="utf-8")
    config = ProjectorConfig()
    config.embeddings.add(
        tensor_name="words",
        tensor_path="embedding.tsv",
        metadata_path="words.tsv",
        tensor_shape=[len(shown), embedding.shape[1]],
    )
    with written_whole(directory / _CONFIG) as beside:
        beside.write_text(text_format.MessageToString(config))
