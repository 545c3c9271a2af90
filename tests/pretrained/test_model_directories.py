"""Model directories come back as they were saved, or say what is wrong."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from ulmfit_tf import models, text
from ulmfit_tf.data import TaskType
from ulmfit_tf.pretrained import (
    CurvePoint,
    Decision,
    PretrainedLanguageModel,
    TrainedClassifier,
    curve,
    directories,
    document_probabilities,
    load_pretrained,
)

WORDS = ("the", "cat", "sat", "dog", "ran", "far", "away")
ARCHITECTURE = models.Architecture(4, 5, 2)
SETTINGS = {
    "architecture": {"embedding_units": 4, "hidden_units": 5, "num_layers": 1},
    "head_units": 3,
    "chunk_length": 4,
    "pooled_length": 8,
}


@pytest.fixture(scope="module")
def tokenizer():
    vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, *WORDS])
    return text.WordTokenizer(vocabulary)


def random_weights(variables, seed):
    rng = np.random.default_rng(seed)
    return {
        # Positive, as a variance must be.
        name: rng.uniform(0.1, 1, v.shape).astype("float32")
        * (1 if "variance" in name else rng.choice([-1, 1], v.shape))
        for name, v in variables.items()
    }


@pytest.fixture(scope="module")
def language_model(tokenizer):
    model = models.LanguageModel(
        len(tokenizer.vocabulary), ARCHITECTURE, batch_size=1
    )
    model.build()
    weights = random_weights(models.language_model_weights(model), 0)
    return PretrainedLanguageModel(ARCHITECTURE, "forward", tokenizer, weights)


@pytest.fixture(scope="module")
def classifier(tokenizer):
    model = models.TextClassifier(len(tokenizer.vocabulary), 3, **SETTINGS)
    model.build()
    weights = {
        direction: random_weights(models.classifier_weights(model), seed)
        for seed, direction in enumerate(("forward", "backward"))
    }
    return TrainedClassifier(
        ("good", "bad", "ugly"),
        tokenizer,
        SETTINGS,
        weights,
        {"accuracy": 0.75, "data": "nothing much"},
    )


def assert_same(one, other, **kwargs):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, other[name], err_msg=name, **kwargs)


def test_a_language_model_comes_back(language_model, tmp_path):
    language_model.save_to_preset(tmp_path / "deep" / "model", "# A card\n")
    loaded = load_pretrained(tmp_path / "deep" / "model")
    assert_same(loaded.weights, language_model.weights, rtol=0)
    assert loaded.architecture == ARCHITECTURE
    assert loaded.direction == "forward"
    vocabulary = language_model.tokenizer.vocabulary
    assert loaded.tokenizer.vocabulary == vocabulary
    card = tmp_path / "deep" / "model" / "model_card.md"
    assert card.read_text() == "# A card\n"
    assert os.listdir(tmp_path / "deep") == ["model"]
    variables = models.language_model_weights(loaded.build(batch_size=1))
    assert_same(models.get_weights(variables), language_model.weights)


def test_a_model_keeps_the_curve_of_its_training(language_model, tmp_path):
    points = (CurvePoint(0.5, 321.25), CurvePoint(1.25, 99.5))
    trained = dataclasses.replace(language_model, curve=points)
    trained.save_to_preset(tmp_path / "model")
    assert load_pretrained(tmp_path / "model").curve == points
    lines = (tmp_path / "model" / "curve.csv").read_text().splitlines()
    assert lines == ["million_tokens,perplexity", "0.5,321.25", "1.25,99.5"]
    language_model.save_to_preset(tmp_path / "other")
    assert not (tmp_path / "other" / "curve.csv").exists()
    assert load_pretrained(tmp_path / "other").curve == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"tokens,loss\n1,2\n",
        b"million_tokens,perplexity\n1\n",
        b"million_tokens,perplexity\n1,fair\n",
        b"million_tokens,perplexity\n1,nan\n",
        b"million_tokens,perplexity\n2,9\n1,8\n",
        b"\xff\xfe",
    ],
)
def test_a_curve_that_cannot_be_read_is_told(language_model, tmp_path, content):
    language_model.save_to_preset(tmp_path / "model")
    (tmp_path / "model" / "curve.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"curve\.csv.*Remove the file"):
        load_pretrained(tmp_path / "model")


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_shipped_curves_are_those_of_the_cards(direction):
    """The cards were written first."""
    shipped = pathlib.Path(curve.__file__).parent / "shipped" / "compact"
    rows = re.findall(
        r"^\| (\d+)(?:, at the lowest rate)? \| (\d+\.\d) \|$",
        (shipped / direction / "model_card.md").read_text(),
        re.MULTILINE,
    )
    points = load_pretrained("compact", direction).curve
    assert len(points) == 11
    assert points == tuple(
        CurvePoint(float(tokens), float(perplexity))
        for tokens, perplexity in rows[: len(points)]
    )


def test_a_shipped_model_by_its_name():
    both = [load_pretrained("compact", d) for d in ("forward", "backward")]
    for model in both:
        assert model.architecture == models.ARCHITECTURES["compact"]
    assert [model.direction for model in both] == ["forward", "backward"]
    vocabularies = {model.tokenizer.vocabulary.tokens for model in both}
    # Classifiers of both directions read the same ids.
    assert len(vocabularies) == 1
    assert (both[0].weights["embedding"] != both[1].weights["embedding"]).any()
    with pytest.raises(ValueError, match=r"There is no pretrained.*compact"):
        PretrainedLanguageModel.from_preset("compacted")


def test_the_shipped_models_are_small():
    shipped = pathlib.Path(curve.__file__).parent / "shipped"
    sizes = [path.stat().st_size for path in shipped.rglob("*")]
    assert 20e6 < sum(sizes) < 48e6


def test_half_precision_halves_the_file(language_model, tmp_path):
    sizes = {}
    for dtype in ("float32", "float16"):
        language_model.save_to_preset(tmp_path / dtype, dtype=dtype)
        with np.load(tmp_path / dtype / "weights.npz") as file:
            assert {file[name].dtype for name in file.files} == {
                np.dtype(dtype)
            }
            sizes[dtype] = sum(file[name].nbytes for name in file.files)
    assert sizes["float16"] == sizes["float32"] / 2
    loaded = load_pretrained(tmp_path / "float16")
    assert_same(loaded.weights, language_model.weights, rtol=1e-3)


def test_int8_has_a_scale_a_row(language_model, tmp_path):
    language_model.save_to_preset(tmp_path / "model", dtype="int8")
    loaded = load_pretrained(tmp_path / "model")
    with np.load(tmp_path / "model" / "weights.npz") as file:
        matrices = {name for name in file.files if file[name].dtype == "int8"}
    assert matrices == {
        name for name, w in language_model.weights.items() if w.ndim == 2
    }
    assert loaded.weights.keys() == language_model.weights.keys()
    for name, array in language_model.weights.items():
        assert loaded.weights[name].dtype == np.float32
        if name not in matrices:
            np.testing.assert_allclose(loaded.weights[name], array, rtol=1e-3)
            continue
        # To half a step of the row, whose largest weight is 127 steps.
        steps = np.abs(array).max(1, keepdims=True) / 127
        difference = np.abs(loaded.weights[name] - array)
        assert np.all(difference <= 0.501 * steps)


def test_a_row_of_zeros_stays_one():
    weights = {"embedding": np.array([[0, 0], [127, -64]], "float32")}
    stored = directories.encode_weights(weights, "int8")
    np.testing.assert_array_equal(
        stored["embedding"], [[0, 0], [127, -64]], strict=False
    )
    np.testing.assert_array_equal(stored["embedding:scales"], [[1], [1]])


def test_other_types_are_refused(language_model, tmp_path):
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        language_model.save_to_preset(tmp_path / "model", dtype="int4")
    assert os.listdir(tmp_path) == []


def test_the_format_before_int8_is_read(language_model, tmp_path):
    language_model.save_to_preset(tmp_path / "model")
    edit(tmp_path / "model", version=1)
    loaded = load_pretrained(tmp_path / "model")
    assert_same(loaded.weights, language_model.weights, rtol=0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"architecture": {"embedding_units": 4}}, "damaged.*hidden_units"),
        ({"architecture": [4, 5, 2]}, "damaged"),
        (
            {
                "architecture": {
                    "embedding_units": 4,
                    "hidden_units": 6,
                    "num_layers": 2,
                }
            },
            "not of Architecture.*hidden_units=6",
        ),
        (
            {
                "architecture": {
                    "embedding_units": 4,
                    "hidden_units": 5,
                    "num_layers": 3,
                }
            },
            "they differ in 'lstm_2/",
        ),
    ],
)
def test_a_config_of_another_model(language_model, tmp_path, changes, message):
    language_model.save_to_preset(tmp_path / "model")
    edit(tmp_path / "model", **changes)
    with pytest.raises(ValueError, match=message):
        load_pretrained(tmp_path / "model")


@pytest.mark.parametrize("field", ["architecture", "direction", "sha256"])
def test_a_config_that_lacks_a_field(language_model, tmp_path, field):
    language_model.save_to_preset(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    del config[field]
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"damaged: `{field}` is missing"):
        load_pretrained(tmp_path / "model")


def test_a_folder_of_directions(language_model, tmp_path):
    language_model.save_to_preset(tmp_path / "both" / "forward")
    backward = PretrainedLanguageModel(
        ARCHITECTURE,
        "backward",
        language_model.tokenizer,
        {name: 2 * array for name, array in language_model.weights.items()},
    )
    backward.save_to_preset(tmp_path / "both" / "backward")
    for direction, factor in (("forward", 1), ("backward", 2)):
        loaded = load_pretrained([tmp_path / "both"], direction)
        assert loaded.direction == direction
        np.testing.assert_allclose(
            loaded.weights["embedding"],
            factor * language_model.weights["embedding"],
        )
    # The first of several names that has the direction.
    names = [tmp_path / "both" / "forward", str(tmp_path / "both")]
    assert load_pretrained(names, "backward").direction == "backward"


def test_a_card_that_names_a_path_of_another_encoding(language_model, tmp_path):
    # As the command line gives it where the name is no UTF-8.
    corpus = os.fsdecode(b"M\xfcll.txt")
    card = f"Text: {corpus}, \u00e4"
    language_model.save_to_preset(tmp_path / "model", card)
    written = (tmp_path / "model" / "model_card.md").read_text("utf-8")
    assert written == "Text: M?ll.txt, \u00e4"


def test_a_folder_called_like_a_shipped_model(
    language_model, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    load_pretrained(["compact"])
    assert not caplog.text
    language_model.save_to_preset("compact")
    shipped = load_pretrained(["compact"])
    assert len(shipped.tokenizer.vocabulary) == 30_000
    assert "taken for the shipped model" in caplog.text
    caplog.clear()
    for path in ("./compact", str(tmp_path / "compact")):
        own = load_pretrained([path])
        assert len(own.tokenizer.vocabulary) < 100
    assert not caplog.text


def test_no_model_of_the_direction(language_model, tmp_path):
    language_model.save_to_preset(tmp_path / "model")
    with pytest.raises(ValueError, match=r"Found: .*model \(forward\)"):
        load_pretrained(tmp_path / "model", "backward")
    with pytest.raises(ValueError, match="Found: none"):
        load_pretrained([tmp_path / "nowhere"])


def test_a_directory_that_exists_is_left_alone(language_model, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="left as it is"):
        language_model.save_to_preset(tmp_path / "model")
    assert os.listdir(tmp_path / "model") == ["mine.txt"]


def test_a_death_while_saving_leaves_nothing(
    language_model, tmp_path, monkeypatch
):
    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(directories.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        language_model.save_to_preset(tmp_path / "model")
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def saved(classifier, tmp_path_factory):
    directory = tmp_path_factory.mktemp("classifier") / "model"
    classifier.save_to_preset(directory)
    return directory


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def edit(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_classifier_comes_back(classifier, saved):
    loaded = TrainedClassifier.from_preset(saved)
    assert loaded.classes == classifier.classes
    assert loaded.settings == SETTINGS
    assert loaded.information == classifier.information
    assert loaded.weights.keys() == {"forward", "backward"}
    for direction, weights in classifier.weights.items():
        assert_same(loaded.weights[direction], weights, rtol=0)
    vocabulary = classifier.tokenizer.vocabulary
    assert loaded.tokenizer.vocabulary == vocabulary


def test_classifiers_of_the_first_format_answer_the_likeliest(copy, saved):
    config = json.loads((copy / "config.json").read_text())
    del config["decision"]
    (copy / "config.json").write_text(json.dumps({**config, "version": 1}))
    loaded = TrainedClassifier.from_preset(copy)
    assert loaded.decision == TrainedClassifier.from_preset(saved).decision
    assert loaded.decision == Decision.likeliest(len(loaded.classes))


def test_several_labels_have_a_probability_each(classifier, tmp_path):
    decision = Decision(
        TaskType.MULTI_LABEL, tuple(0.3 for _ in classifier.classes), "; "
    )
    weights = {"forward": classifier.weights["forward"]}
    one_label = dataclasses.replace(classifier, weights=weights)
    sets = dataclasses.replace(one_label, decision=decision)
    sets.save_to_preset(tmp_path / "sets")
    loaded = TrainedClassifier.from_preset(tmp_path / "sets")
    assert loaded.decision == decision
    probabilities = loaded.predict(TEXTS)
    assert np.abs(probabilities.sum(axis=1) - 1).max() > 0.01
    # Of the same logits, which a softmax makes add up to 1.
    np.testing.assert_allclose(
        special.softmax(special.logit(probabilities), axis=1),
        one_label.predict(TEXTS),
        rtol=1e-3,
        atol=1e-5,
    )


def test_damage_is_noticed(copy):
    path = copy / "weights.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.npz` is missing or damag"):
        TrainedClassifier.from_preset(copy)
    path.unlink()
    with pytest.raises(ValueError, match=r"weights.npz` is missing or damag"):
        TrainedClassifier.from_preset(copy)


def test_every_file_of_the_tokenizer_is_checked(copy):
    names = {path.name for path in copy.iterdir()} - {"config.json"}
    assert len(names) > 1
    for name in sorted(names):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-1])
        with pytest.raises(ValueError, match=f"{name}` is missing or damag"):
            TrainedClassifier.from_preset(copy)
        (copy / name).write_bytes(content)
    TrainedClassifier.from_preset(copy)


def test_a_language_model_is_checked_as_well(language_model, tmp_path):
    directory = tmp_path / "model"
    language_model.save_to_preset(directory)
    for name in ("weights.npz", "vocabulary.txt", "tokenizer.json"):
        content = (directory / name).read_bytes()
        (directory / name).write_bytes(content[:-1])
        with pytest.raises(ValueError, match=f"{name}` is missing or damag"):
            load_pretrained(directory)
        (directory / name).write_bytes(content)
    edit(directory, version=99)
    with pytest.raises(ValueError, match="version 99.*Update ulmfit_tf"):
        load_pretrained(directory)


def test_newer_formats_are_refused(copy):
    edit(copy, version=99)
    with pytest.raises(ValueError, match="version 99.*Update ulmfit_tf"):
        TrainedClassifier.from_preset(copy)
    for version in (None, 0, "1", True, 1.5):
        edit(copy, version=version)
        with pytest.raises(ValueError, match="damaged: its version is"):
            TrainedClassifier.from_preset(copy)


@pytest.mark.parametrize(
    "hashes",
    [None, [], {}, {"weights.npz": "0"}, {"tokenizer.json": "0"}],
)
def test_hashes_that_leave_files_out(copy, hashes):
    edit(copy, sha256=hashes)
    with pytest.raises(ValueError, match="damaged: `sha256` does not name"):
        TrainedClassifier.from_preset(copy)


def test_hashes_of_files_elsewhere(copy):
    hashes = json.loads((copy / "config.json").read_text())["sha256"]
    edit(copy, sha256={**hashes, "../secret.txt": "0"})
    with pytest.raises(ValueError, match="damaged: `sha256` does not name"):
        TrainedClassifier.from_preset(copy)


@pytest.mark.parametrize("name", ["weights.npz", "vocabulary.txt"])
def test_files_that_are_not_what_they_are_called(copy, name):
    """Though their hashes are right, or they have none."""
    hashes = json.loads((copy / "config.json").read_text())["sha256"]
    del hashes["vocabulary.txt"]
    (copy / name).unlink()
    if name == "weights.npz":
        (copy / name).write_bytes(b"PK but no archive")
        content = (copy / name).read_bytes()
        hashes[name] = hashlib.sha256(content).hexdigest()
    edit(copy, sha256=hashes)
    with pytest.raises(ValueError, match="cannot be read as a model"):
        TrainedClassifier.from_preset(copy)


def hostile(kind):
    """Contents of `weights.npz` that somebody may have made."""
    whole, part = io.BytesIO(), io.BytesIO()
    if kind == "array":
        np.save(whole, np.zeros(3))
    elif kind == "structured":
        np.savez(whole, a=np.zeros(3, [("x", "f4"), ("y", "f4")]))
    elif kind == "not_numbers":
        np.savez(whole, a=np.array([1.0, np.nan], "float32"))
    elif kind == "complex":
        np.savez(whole, a=np.zeros(3, "complex64"))
    elif kind == "bomb":
        np.savez_compressed(whole, a=np.zeros(2**26, "int8"))
    elif kind in ("huge_shape", "no_array"):
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(part, header)
        content = part.getvalue() if kind == "huge_shape" else b""
        with zipfile.ZipFile(whole, "w") as archive:
            archive.writestr("a.npy", content)
    elif kind == "damaged":
        np.savez_compressed(whole, a=np.arange(1000.0))
        content = bytearray(whole.getvalue())
        content[60:300] = b"x" * 240
        return bytes(content)
    return whole.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "array",
        "structured",
        "not_numbers",
        "complex",
        "bomb",
        "huge_shape",
        "no_array",
        "damaged",
    ],
)
def test_hostile_weights_end_in_one_message(copy, kind):
    content = hostile(kind)
    (copy / "weights.npz").unlink()
    (copy / "weights.npz").write_bytes(content)
    hashes = json.loads((copy / "config.json").read_text())["sha256"]
    hashes["weights.npz"] = hashlib.sha256(content).hexdigest()
    edit(copy, sha256=hashes)
    with pytest.raises(ValueError, match="cannot be read as a model"):
        TrainedClassifier.from_preset(copy)


def test_other_models_are_refused(copy):
    with pytest.raises(ValueError, match=r"'ulmfit_tf.classifier', not"):
        load_pretrained(copy)
    edit(copy, format="somebody.else")
    with pytest.raises(ValueError, match="'somebody.else', not"):
        TrainedClassifier.from_preset(copy)


@pytest.mark.parametrize("content", [None, "", "{", "[" * 9**6, "[1, 2]", "3"])
def test_other_folders_are_refused(copy, content):
    (copy / "config.json").unlink()
    if content is not None:
        (copy / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json"):
        TrainedClassifier.from_preset(copy)


TEXTS = [
    "the cat sat far away the dog ran the cat ran far far away",
    "",
    "cat",
    "dog ran the cat sat away the far dog sat the dog",
    "dog dog",
    "the cat sat",
    "far away ran dog the cat sat the far the away",
]


def test_predictions_come_in_the_order_of_the_texts(classifier):
    """Whatever they are batched with, and however long they are."""
    together = classifier.predict(TEXTS)
    alone = np.concatenate([classifier.predict([each]) for each in TEXTS[:1]])
    assert together.shape == (7, 3)
    np.testing.assert_allclose(together.sum(1), 1, rtol=1e-5)
    assert np.abs(np.diff(together, axis=0)).max(1).min() > 1e-4
    np.testing.assert_allclose(together[:1], alone, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        classifier.predict(TEXTS[::-1], batch_size=3)[::-1],
        together,
        rtol=1e-4,
        atol=1e-6,
    )


def test_both_directions_are_averaged(classifier):
    parts = []
    for direction, weights in classifier.weights.items():
        single = TrainedClassifier(
            classifier.classes,
            classifier.tokenizer,
            SETTINGS,
            {direction: weights},
        )
        parts.append(single.predict(TEXTS))
    assert np.abs(parts[0] - parts[1]).max() > 1e-3
    np.testing.assert_allclose(
        classifier.predict(TEXTS), np.mean(parts, 0), rtol=1e-4, atol=1e-6
    )


def test_a_backward_classifier_reads_from_the_end(classifier):
    """On a palindrome both directions read the same."""
    forward, backward = (
        TrainedClassifier(
            classifier.classes,
            classifier.tokenizer,
            SETTINGS,
            {direction: classifier.weights["forward"]},
        )
        for direction in ("forward", "backward")
    )
    documents = tf.ragged.constant(
        [[9, 10, 11, 10, 9], [9, 10, 11, 12, 13]], dtype=tf.int32
    )
    one, other = (
        document_probabilities(each.build(), documents).numpy()
        for each in (forward, backward)
    )
    difference = np.abs(one - other).max(1)
    assert difference[0] < 1e-6 < 1e-4 < difference[1]
