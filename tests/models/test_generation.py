"""Generated text against a step-by-step reading of the whole prefix."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ulmfit_tf import models, text
from ulmfit_tf.models.generation import SEARCHES

WORDS = [f"w{index}" for index in range(11)]
VOCABULARY = text.Vocabulary([*text.SPECIAL_TOKENS, *WORDS])
PROMPT = np.array([[2, 12, 10, 15]])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    model = models.LanguageModel(
        len(VOCABULARY), models.Architecture(4, 6, 2), batch_size=3
    )
    model.build()
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.8, variable.shape))
    return model


@pytest.fixture
def biased(model):
    """Gives words another bias for one test."""
    before = model.decoder.bias.numpy()
    yield lambda words, bias: model.decoder.bias.assign(
        np.where(words, bias, before)
    )
    model.decoder.bias.assign(before)


def next_log_probabilities(model, token_ids):
    """Reads the whole prefix from a zero state."""
    hidden, _ = model.encoder(token_ids)
    logits = model.decoder(hidden, model.encoder.embedding.embeddings)
    logits = logits[:, -1].numpy().astype("float64")
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def read_greedily(model, ids, steps, allowed):
    ids = np.array(ids)
    for _ in range(steps):
        scores = next_log_probabilities(model, ids)
        best = allowed[np.argmax(scores[:, allowed], axis=-1)]
        ids = np.concatenate([ids, best[:, None]], axis=1)
    return ids


def test_greedy_is_the_most_likely_word_of_the_whole_prefix(model):
    forbidden = [0, 1, 2]
    allowed = np.arange(3, len(VOCABULARY))
    batch = np.concatenate([PROMPT, PROMPT[:, ::-1]])
    found = models.generate(model, batch, 12, forbidden, search="greedy")
    expected = read_greedily(model, batch, 12, allowed)
    np.testing.assert_array_equal(found, expected[:, PROMPT.shape[1] :])


def test_a_beam_of_one_is_greedy(model):
    for prompt in (PROMPT, PROMPT[:, :1]):
        greedy = models.generate(model, prompt, 12, [0, 1], search="greedy")
        beam = models.generate(
            model, prompt, 12, [0, 1], search="beam", beam_size=1
        )
        np.testing.assert_array_equal(beam, greedy)


def test_a_wide_beam_finds_the_most_likely_pair(model):
    found = models.generate(model, PROMPT, 2, search="beam", beam_size=9)
    size = len(VOCABULARY)
    first = next_log_probabilities(model, PROMPT)[0]
    firsts = np.concatenate(
        [np.repeat(PROMPT, size, 0), np.arange(size)[:, None]], axis=1
    )
    pairs = first[:, None] + next_log_probabilities(model, firsts)
    best = np.unravel_index(np.argmax(pairs), pairs.shape)
    np.testing.assert_array_equal(found[0], best)


@pytest.mark.parametrize("search", ["top-k", "nucleus"])
def test_seeds_reproduce_and_differ(model, search):
    def sample(seed):
        return models.generate(
            model, PROMPT, 20, search=search, top_k=9, seed=seed
        ).tolist()

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


@pytest.mark.parametrize("search", SEARCHES)
def test_the_callers_random_numbers_stay_as_they_are(model, search):
    """Texts are also written in the middle of a training."""

    def drawn(generates):
        tf.random.set_seed(5)
        first = tf.random.uniform([]).numpy()
        if generates:
            models.generate(model, PROMPT, 3, search=search, seed=1)
        return first, *tf.random.uniform([2]).numpy()

    assert drawn(generates=True) == drawn(generates=False)


def test_a_seed_is_all_that_a_sample_depends_on(model):
    found = []
    for seed_of_caller in (5, 6):
        tf.random.set_seed(seed_of_caller)
        found.append(models.generate(model, PROMPT, 20, seed=1).tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"search": "top-k", "top_k": 2}, id="top-k"),
        pytest.param({"search": "nucleus", "top_p": 0.6}, id="nucleus"),
    ],
)
def test_samples_stay_among_the_likely_words(model, options):
    rows = np.repeat(PROMPT, 300, axis=0)
    found = models.generate(model, rows, 1, **options)[:, 0]
    probabilities = np.exp(next_log_probabilities(model, PROMPT))[0]
    order = np.argsort(-probabilities)
    # The last word of the nucleus is the one that passes `top_p`.
    nucleus = 1 + int(np.sum(np.cumsum(probabilities[order]) < 0.6))
    kept = order[: options.get("top_k", nucleus)]
    assert set(found) == set(kept.tolist())
    shares = np.array([np.mean(found == word) for word in kept])
    expected = probabilities[kept] / probabilities[kept].sum()
    np.testing.assert_allclose(shares, expected, atol=0.1)


def test_low_temperature_is_greedy(model):
    cold = models.generate(
        model, PROMPT, 12, search="top-k", top_k=20, temperature=1e-4
    )
    greedy = models.generate(model, PROMPT, 12, search="greedy")
    np.testing.assert_array_equal(cold, greedy)


@pytest.mark.parametrize(
    "search, backward",
    [("greedy", True), ("top-k", False), ("nucleus", True), ("beam", False)],
)
def test_no_text_holds_what_is_no_text(model, biased, search, backward):
    tokenizer = text.WordTokenizer(VOCABULARY)
    # A model that would say little else.
    biased(np.arange(len(VOCABULARY)) < 6, 50.0)
    (found,) = models.generate_text(
        model, tokenizer, "Quux w3", 15, backward=backward, search=search
    )
    assert "xx" not in found
    # An unknown word of the prompt is printed as it was given.
    assert (found.endswith if backward else found.startswith)("Quux w3")
    assert len(found.split()) > 5


def test_a_backward_model_writes_leftwards(model, biased):
    """Its next word comes before the prompt."""
    biased(np.arange(len(VOCABULARY)) < 9, -50.0)
    tokenizer = text.WordTokenizer(VOCABULARY)
    (found,) = models.generate_text(
        model, tokenizer, "w1 w2", 3, backward=True, search="greedy"
    )
    allowed = np.arange(9, len(VOCABULARY))
    read = [2, VOCABULARY.index("w2"), VOCABULARY.index("w1")]
    ids = read_greedily(model, [read], 3, allowed)[0, 1:]
    assert found == " ".join(VOCABULARY[index] for index in ids[::-1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"search": "best"},
        {"temperature": 0.0},
        {"top_p": 0.0},
        {"top_k": 0},
        {"beam_size": 11, "search": "beam"},
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(model, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        models.generate(model, PROMPT, 3, **wrong)


def test_a_search_without_a_beam_asks_for_few_words(model):
    """Two allowed words are too few for the default beam."""
    allowed = (0, 1)
    forbidden = [i for i in range(model.vocabulary_size) if i not in allowed]
    found = models.generate(
        model, PROMPT, 5, forbidden_ids=forbidden, search="greedy"
    )
    assert set(found.ravel()) <= set(allowed)
