import numpy as np

from trainers.task_text import share_unknown, task_tokenizer, weights_for
from ulmfit_tf import models, pretrained, text


def _pretrained(words):
    vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, *words])
    rng = np.random.default_rng(3)
    weights = {
        "embedding": rng.normal(size=(len(vocabulary), 4)).astype("float32"),
        "decoder/bias": rng.normal(size=len(vocabulary)).astype("float32"),
    }
    return pretrained.PretrainedLanguageModel(
        models.Architecture(4, 5),
        "forward",
        text.WordTokenizer(vocabulary),
        weights,
    )


def test_pretrained_words_stay_and_frequent_new_ones_follow():
    model = _pretrained(["river", "song"])
    texts = ["zebra zebra song", "quagga zebra", "yak yak"]
    tokenizer = task_tokenizer(texts, model, 100, min_frequency=2)
    known = len(model.tokenizer.vocabulary)
    assert tokenizer.vocabulary.tokens == (
        *model.tokenizer.vocabulary.tokens,
        "zebra",
        "yak",
    )
    # A word that only later texts use is not unknown.
    assert tokenizer(["river"]).to_list()[0][1] == known - 2


def test_added_words_count_as_unknown_to_the_language_model():
    model = _pretrained(["river", "song"])
    texts = ["yak yak river emu"]
    tokenizer = task_tokenizer(texts, model, 100, min_frequency=2)
    ids = tokenizer(texts).flat_values.numpy()
    rest = ids[1:]  # Without xxbos.
    # Of yak yak river emu the last is unknown to the tokenizer as well.
    assert share_unknown(rest, tokenizer) == 0.25
    assert share_unknown(rest, tokenizer, model) == 0.75


def test_new_words_start_at_the_mean_row_and_bias():
    model = _pretrained(["river", "song"])
    tokenizer = task_tokenizer(["yak yak"], model, 100, min_frequency=2)
    weights = weights_for(model, tokenizer.vocabulary)
    source = model.weights
    np.testing.assert_array_equal(
        weights["embedding"][:-1], source["embedding"]
    )
    np.testing.assert_allclose(
        weights["embedding"][-1], source["embedding"].mean(0), rtol=1e-5
    )
    np.testing.assert_allclose(
        weights["decoder/bias"][-1], source["decoder/bias"].mean(), rtol=1e-5
    )


def test_as_many_words_are_new_as_asked_for():
    """However many the pretrained model has, as fastai's 60,000."""
    model = _pretrained(["river", "song"])
    size = len(model.tokenizer.vocabulary)
    texts = ["yak emu yak emu yak"]
    limited = task_tokenizer(texts, model, 1, min_frequency=2)
    assert limited.vocabulary.tokens[size:] == ("yak",)
