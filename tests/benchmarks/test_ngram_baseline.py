"""The n-gram baseline counts as the language model's perplexity does."""

import math

import numpy as np
import pytest

from benchmarks import ngram_baseline
from trainers.command_line import UserError
from ulmfit_tf import models, text
from ulmfit_tf.pretrained import PretrainedLanguageModel

ARCHITECTURE = models.Architecture(4, 5, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A language model, a text to learn from and one to evaluate on."""
    folder = tmp_path_factory.mktemp("ngram")
    words = [*text.SPECIAL_TOKENS, "the", "cat", "sat", "dog", "."]
    tokenizer = text.WordTokenizer(text.Vocabulary(words))
    model = models.LanguageModel(len(words), ARCHITECTURE, batch_size=1)
    model.build()
    weights = models.get_weights(models.language_model_weights(model))
    PretrainedLanguageModel(
        ARCHITECTURE, "forward", tokenizer, weights
    ).save_to_preset(folder / "model")
    (folder / "train.txt").write_text("The cat sat.\nA dog sat.\n" * 60)
    (folder / "valid.txt").write_text("The dog sat. A bird sat.\n" * 20)
    return folder


def run(folder, *flags):
    return ngram_baseline.main(
        [
            *("--corpus", str(folder / "valid.txt")),
            *("--training-corpus", str(folder / "train.txt")),
            *("--pretrained", str(folder / "model")),
            *flags,
        ]
    )


def test_both_models_on_the_same_tokens(folder):
    figures = run(folder)
    ngram, neural = figures["ngram"], figures["language_model"]
    for name in ("tokens", "words", "unknown_rate"):
        assert ngram[name] == neural[name]
    # xxbos xxmaj the dog sat . a bird sat . of six words.
    assert (ngram["tokens"], ngram["words"]) == (200, 120)
    assert ngram["unknown_rate"] == pytest.approx(2 / 10, abs=1e-5)
    for each in (ngram, neural):
        assert math.log(each["perplexity_per_word"]) * 120 == pytest.approx(
            math.log(each["perplexity_per_token"]) * 199, rel=1e-3
        )
    assert ngram["perplexity_per_token"] < neural["perplexity_per_token"]


def test_unigrams_by_hand(folder):
    """An order of one: contexts do not matter, so counts say it all."""
    flags = ["--order", "1", "--max-tokens", "330", "--ngram-only"]
    results = run(folder, *flags)
    assert results.keys() == {"ngram"}
    figures = results["ngram"]
    assert figures["training_tokens"] == 330
    # The first 330 tokens are half of the text.
    counts = dict.fromkeys(["xxbos", "sat", "."], 60)
    counts |= dict.fromkeys(["xxmaj", "the", "cat", "xxunk", "dog"], 30)
    total = sum(counts.values())
    # Of 14 words 8 occur, each three times or more.
    share = {
        word: (count - 1.5) / total + 8 * 1.5 / total / 14
        for word, count in counts.items()
    }
    document = ["xxbos", "xxmaj", "the", "dog", "sat", "."]
    document += ["xxunk", "xxunk", "sat", "."]
    nats = -np.mean([math.log(share[word]) for word in document])
    assert figures["perplexity_per_token"] == pytest.approx(
        math.exp(nats), abs=1e-3
    )


def test_mistakes(folder):
    with pytest.raises(UserError, match="--order"):
        run(folder, "--order", "40")
    with pytest.raises(UserError, match="--pretrained.*nowhere"):
        run(folder, "--pretrained", "nowhere")
