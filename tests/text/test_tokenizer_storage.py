"""Tokenizer folders: round trip and damage."""

import json

import pytest

from ulmfit_tf.text import (
    SPECIAL_TOKENS,
    SentencePieceTokenizer,
    Vocabulary,
    WordTokenizer,
    load_tokenizer,
    save_tokenizer,
    train_sentencepiece,
)

TEXTS = ["The cat sat on the mat!!!", "a DOG", "", "dog cat mat on"]


def word_tokenizer(lowercase=True):
    words = ["the", "cat", "dog", "DOG", "a\u2028b"]
    return WordTokenizer(
        Vocabulary([*SPECIAL_TOKENS, *words]), lowercase=lowercase
    )


def sentencepiece_tokenizer():
    return SentencePieceTokenizer(train_sentencepiece(TEXTS * 50, 30))


@pytest.fixture
def folder(tmp_path):
    save_tokenizer(word_tokenizer(), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(word_tokenizer, id="word"),
        pytest.param(lambda: word_tokenizer(False), id="word_cased"),
        pytest.param(sentencepiece_tokenizer, id="sentencepiece"),
    ],
)
def test_round_trip(build, tmp_path):
    tokenizer = build()
    save_tokenizer(tokenizer, tmp_path / "new" / "folder")
    loaded = load_tokenizer(str(tmp_path / "new" / "folder"))
    assert type(loaded) is type(tokenizer)
    assert loaded.vocabulary == tokenizer.vocabulary
    assert loaded(TEXTS).to_list() == tokenizer(TEXTS).to_list()


def test_saving_again_replaces_and_leaves_nothing_behind(folder):
    tokenizer = WordTokenizer(Vocabulary([*SPECIAL_TOKENS, "other"]))
    save_tokenizer(tokenizer, folder)
    assert load_tokenizer(folder).vocabulary == tokenizer.vocabulary
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["tokenizer.json", "vocabulary.txt"]


@pytest.mark.parametrize(
    "changes, message",
    [
        pytest.param({"version": 2}, "version=2", id="version"),
        pytest.param({"type": "bytes"}, "type='bytes'", id="type"),
        pytest.param({"type": ["word"]}, "type=", id="type_not_text"),
        pytest.param({"surprise": 1}, "surprise", id="field"),
        pytest.param({"options": {}}, r"options=\{\}", id="option_missing"),
        pytest.param({"options": None}, "options=None", id="no_options"),
        pytest.param(
            {"options": {"lowercase": "yes"}}, "yes", id="option_type"
        ),
        pytest.param(
            {"options": {"lowercase": True, "stem": True}},
            "stem",
            id="option_unknown",
        ),
        pytest.param({"sha256": "0"}, "SHA-256", id="hash"),
    ],
)
def test_other_descriptions_are_refused(folder, changes, message):
    path = folder / "tokenizer.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, **changes}))
    with pytest.raises(ValueError, match=message) as raised:
        load_tokenizer(folder)
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1]", b"null"])
def test_a_damaged_description_is_refused(folder, content):
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        load_tokenizer(folder)


def test_a_damaged_vocabulary_is_refused(folder):
    path = folder / "vocabulary.txt"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"vocabulary\.txt.*SHA-256"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocabulary.txt"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_tokenizer(folder)


def test_only_tokenizers_are_saved(tmp_path):
    with pytest.raises(ValueError, match="dict"):
        save_tokenizer({}, tmp_path)
