"""The perplexity command against a language model written in NumPy."""

import json

import numpy as np
import pytest

from trainers import command_line, perplexity
from ulmfit_tf import models, pretrained, text
from ulmfit_tf.pretrained.language_model_files import PretrainedLanguageModel

UNITS, HIDDEN = 4, 5
WORDS = [f"w{number}" for number in range(30)]
TOKENIZER = text.WordTokenizer(text.Vocabulary([*text.SPECIAL_TOKENS, *WORDS]))


def model(direction):
    rng = np.random.default_rng(7)
    shapes = {
        "embedding": (len(TOKENIZER.vocabulary), UNITS),
        "decoder/bias": (len(TOKENIZER.vocabulary),),
        "lstm_1/kernel": (UNITS, 4 * HIDDEN),
        "lstm_1/recurrent_kernel": (HIDDEN, 4 * HIDDEN),
        "lstm_1/bias": (4 * HIDDEN,),
        "lstm_2/kernel": (HIDDEN, 4 * UNITS),
        "lstm_2/recurrent_kernel": (UNITS, 4 * UNITS),
        "lstm_2/bias": (4 * UNITS,),
    }
    weights = {
        name: rng.normal(size=shape).astype("float32")
        for name, shape in shapes.items()
    }
    architecture = models.Architecture(UNITS, HIDDEN, 2)
    return PretrainedLanguageModel(architecture, direction, TOKENIZER, weights)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def nats_of(weights, ids):
    """Losses of all tokens but the first, one after another, in float64."""
    weights = {name: np.float64(array) for name, array in weights.items()}
    states = [[np.zeros(HIDDEN)] * 2, [np.zeros(UNITS)] * 2]
    losses = []
    for current, following in zip(ids[:-1], ids[1:], strict=True):
        x = weights["embedding"][current]
        for layer, (hidden, cell) in enumerate(states):
            name = f"lstm_{layer + 1}"
            gates = (
                x @ weights[f"{name}/kernel"]
                + hidden @ weights[f"{name}/recurrent_kernel"]
                + weights[f"{name}/bias"]
            )
            into, forget, candidate, out = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(candidate)
            x = sigmoid(out) * np.tanh(cell)
            states[layer] = [x, cell]
        logits = weights["embedding"] @ x + weights["decoder/bias"]
        losses.append(np.log(np.exp(logits).sum()) - logits[following])
    return np.array(losses)


def documents(count):
    rng = np.random.default_rng(3)
    return [
        " ".join(rng.choice([*WORDS, "elsewhere"], rng.integers(1, 9)))
        for _ in range(count)
    ]


@pytest.fixture
def measure(tmp_path):
    def run(texts, direction="forward", **flags):
        corpus = tmp_path / "texts.jsonl"
        corpus.write_text(
            "".join(json.dumps({"text": each}) + "\n" for each in texts)
        )
        directory = tmp_path / f"model-{direction}"
        if not directory.exists():
            model(direction).save_to_preset(directory)
        arguments = ["--pretrained", str(directory), "--corpus", str(corpus)]
        flags = {"direction": direction, **flags}
        for name, value in flags.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        return perplexity.main(arguments)

    return run


def expected(texts, direction="forward", weights=None):
    rows = [row.numpy() for row in TOKENIZER(texts)]
    if direction == "backward":
        rows = [row[::-1] for row in rows]
    ids = np.concatenate(rows)
    nats = nats_of(weights or model(direction).weights, ids)
    words = sum(len(each.split()) for each in texts)
    return {
        "perplexity_per_token": np.exp(nats.mean()),
        "perplexity_per_word": np.exp(nats.sum() / words),
        "tokens": len(ids),
        "predicted_tokens": len(ids) - 1,
        "words": words,
        "unknown_rate": pytest.approx(
            np.mean(ids == text.UNKNOWN_ID), abs=1e-5
        ),
    }


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(
    "count",
    [pytest.param(1, id="one_text"), pytest.param(40, id="several_windows")],
)
def test_short_texts_are_measured_exactly(
    measure, direction, count, batch_size
):
    texts = documents(count)
    found = measure(texts, direction, batch_size=batch_size)
    for name, value in expected(texts, direction).items():
        approx = (
            pytest.approx(value, rel=1e-4)
            if name.startswith("perplexity")
            else value
        )
        assert found[name] == approx, name


def test_parts_of_a_long_text_lose_only_their_beginnings(measure, monkeypatch):
    texts = documents(60)
    monkeypatch.setattr(perplexity, "_LEAST_IN_A_ROW", 30)
    ids = np.concatenate([row.numpy() for row in TOKENIZER(texts)])
    tokens = len(ids) - 1
    length = -(-tokens // 8)
    assert tokens % 8 and tokens > 8 * 30
    weights = model("forward").weights
    nats = sum(
        nats_of(weights, ids[start : start + length + 1]).sum()
        for start in range(0, tokens, length)
    )
    found = measure(texts, batch_size=8)
    assert found["predicted_tokens"] == tokens
    assert found["perplexity_per_token"] == pytest.approx(
        np.exp(nats / tokens), rel=1e-4
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_model_is_measured_as_if_it_were_stored(measure, dtype, tmp_path):
    texts = documents(20)
    model("forward").save_to_preset(tmp_path / "stored", dtype=dtype)
    loaded = pretrained.load_pretrained([str(tmp_path / "stored")])
    found = measure(texts, stored_precision=dtype)
    value = expected(texts, weights=loaded.weights)["perplexity_per_token"]
    assert found["perplexity_per_token"] == pytest.approx(value, rel=1e-4)
    with np.load(tmp_path / "stored" / "weights.npz") as file:
        size = sum(file[name].nbytes for name in file.files)
    assert found["weights_megabytes"] == round(size / 1e6, 2)


def test_mistakes_are_named(measure):
    with pytest.raises(SystemExit) as ended:
        measure(["w1 w2"], batch_size=0)
    assert ended.value.code == 2
    with pytest.raises(command_line.USER_ERRORS, match="hold no documents"):
        measure([""])


def test_a_text_without_spaces_has_no_perplexity_a_word(measure):
    """It is one word of some thousand nats, and `exp` has an end."""
    found = measure(["w1," * 2000])
    assert found["words"] == 1 and found["perplexity_per_word"] is None
    assert found["perplexity_per_token"] > 1
