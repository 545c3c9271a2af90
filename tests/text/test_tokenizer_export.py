"""Tokenizers inside a SavedModel, loaded the way TF Serving loads it."""

import json
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf

from ulmfit_tf.text import (
    SPECIAL_TOKENS,
    SentencePieceTokenizer,
    Vocabulary,
    WordTokenizer,
    train_sentencepiece,
)

TEXTS = [
    "The cat sat, the DOG didn't!!!",
    "",
    "no no no cat",
    "naïve 👍👍👍 日本語 xxpad",
    "a" * 5000,
]

# Nothing of ulmfit_tf, nothing of Keras: TensorFlow's session alone.
PROGRAM = """
import json, sys
import tensorflow as tf

answers = []
for kind, folder in zip(["word", "sentencepiece"], sys.argv[2:]):
    if kind == "sentencepiece":
        import tensorflow_text
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        model = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        signature = model.signature_def["serving_default"]
        text = signature.inputs["text"].name
        outputs = {
            name: session.run(output.name, {text: json.loads(sys.argv[1])})
            for name, output in signature.outputs.items()
        }
    answers.append({name: ids.tolist() for name, ids in outputs.items()})
assert "ulmfit_tf" not in sys.modules
print(json.dumps(answers))
"""


class Served(tf.Module):
    """The ids of some tokenizers as dense tensors."""

    def __init__(self, *tokenizers):
        super().__init__()
        self.tokenizers = tokenizers

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def __call__(self, text):
        return {
            f"ids{number}": tokenizer(text).to_tensor(1)
            for number, tokenizer in enumerate(self.tokenizers)
        }


@pytest.fixture
def word_models():
    words = ["the", "cat", "sat", ",", "3", "no", "n't", "👍"]
    # Two vocabularies: their assets must not be mixed up.
    return Served(
        WordTokenizer(Vocabulary([*SPECIAL_TOKENS, *words])),
        WordTokenizer(Vocabulary([*SPECIAL_TOKENS, *words[::-1]]), False),
    )


@pytest.fixture
def sentencepiece_model():
    return Served(
        SentencePieceTokenizer(train_sentencepiece(TEXTS[:4] * 50, 38))
    )


def test_a_moved_saved_model_gives_the_same_ids(
    word_models, sentencepiece_model, tmp_path
):
    expected, folders = [], []
    for number, model in enumerate([word_models, sentencepiece_model]):
        written = str(tmp_path / f"written{number}")
        tf.saved_model.save(model, written, {"serving_default": model.__call__})
        answer = model(tf.constant(TEXTS))
        expected.append({k: v.numpy().tolist() for k, v in answer.items()})
        folders.append(str(tmp_path / "moved" / str(number)))
        shutil.move(written, folders[-1])
    # The vocabulary's own file must not be needed any more either.
    for tokenizer in word_models.tokenizers:
        tokenizer._directory.cleanup()

    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(TEXTS), *folders],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert json.loads(finished.stdout.splitlines()[-1]) == expected
