"""Texts are written by the weights that are evaluated."""

import types

import keras
import numpy as np
import pytest

from trainers.samples import SampleTexts, held_out_prompt
from ulmfit_tf import models, text
from ulmfit_tf.data.token_cache import TokenizedCorpus
from ulmfit_tf.training import ExponentialAveraging


def test_with_averaging_the_averages_write(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    kernel = model.layers[0].kernel
    state = types.SimpleNamespace(step=3, callback_variables=[])
    averaging = ExponentialAveraging({"kernel": kernel}, state, decay=0.5)
    written_by = []

    def generate_text(model, *arguments, **options):
        written_by.append(float(kernel.numpy()[0, 0]))
        return ["text"] * options["num_texts"]

    monkeypatch.setattr(models, "generate_text", generate_text)
    for value in (1.0, 2.0, 4.0):
        kernel.assign([[value]])
        averaging.on_train_batch_end(0)
    for each in (averaging, None):
        samples = SampleTexts(None, "", False, state, tmp_path, each)
        samples.set_model(model)
        samples.on_epoch_end(0)
        np.testing.assert_array_equal(kernel, [[4.0]])
    # Weights of 1, 2 and 4 for the steps' 1.0, 2.0 and 4.0.
    np.testing.assert_allclose(written_by, [(1 + 4 + 16) / 7, 4.0], rtol=1e-6)


_WORDS = ["the", "old", "fox", "saw", "a", "red", "hen", "and", "ran", "away"]


@pytest.fixture(scope="module")
def tokenizer():
    return text.WordTokenizer(text.Vocabulary([*text.SPECIAL_TOKENS, *_WORDS]))


@pytest.mark.parametrize(
    ("backward", "expected"),
    [
        (False, "The old fox saw a red hen"),
        (True, "fox saw a red hen and ran away"),
    ],
)
def test_known_words_of_a_long_document_are_continued(
    tokenizer, backward, expected
):
    documents = [
        "the old fox ran",
        "The old fox saw a quagga and the red hen ran away",
        "The old fox saw a red hen and ran away",
    ]
    corpus = TokenizedCorpus.from_documents(
        [ids.numpy() for ids in tokenizer(documents)]
    )
    if backward:
        # The unknown word is not among its last eight.
        corpus = corpus.select([0, 2])
    assert held_out_prompt(corpus, tokenizer, backward) == expected


def test_without_such_a_document_a_new_one_begins(tokenizer):
    corpus = TokenizedCorpus.from_documents(
        [ids.numpy() for ids in tokenizer(["the quagga", "a fox"])]
    )
    assert held_out_prompt(corpus, tokenizer, backward=False) == ""
