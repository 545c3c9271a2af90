"""The same documents from every kind of source; vocabularies that grow."""

import argparse
import csv
import gzip
import json
import lzma

import numpy as np
import pytest
from sentencepiece import sentencepiece_model_pb2

from trainers import corpus_text
from trainers.command_line import UserError
from trainers.corpus_text import prepare_corpus
from trainers.language_model_recipe import LanguageModelRecipe
from ulmfit_tf import models, pretrained, text
from ulmfit_tf.data.errors import DataError
from ulmfit_tf.data.token_cache import cached_corpus

_DOCUMENTS = [
    f'Document {number}, "quoted": the cat sat on mat {number % 7}.'
    for number in range(120)
]
_RECIPE = LanguageModelRecipe(vocabulary_size=100, min_frequency=1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("ULMFIT_TF_DATA", raising=False)


def prepare(corpus, run, recipe=_RECIPE, start=None, **settings):
    settings = {
        "corpus": str(corpus),
        "data_dir": None,
        "text_column": "text",
        "tokenizer": "word",
        "extend_vocabulary": True,
        "validation_fraction": 0.1,
        **settings,
    }
    return prepare_corpus(argparse.Namespace(**settings), recipe, start, run)


def _write_csv(path):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "body"], *enumerate(_DOCUMENTS)])


def _lines():
    return "\n".join(_DOCUMENTS) + "\n"


def _json_lines(documents=_DOCUMENTS, **more):
    return "".join(json.dumps({"text": d, **more}) + "\n" for d in documents)


def _source(kind, folder):
    """Writes the documents; returns the corpus and its settings."""
    if kind == "txt":
        (folder / "a.txt").write_text(_lines())
        return folder / "a.txt", {}
    if kind == "jsonl":
        (folder / "a.jsonl").write_text(_json_lines())
        return folder / "a.jsonl", {}
    if kind == "csv":
        _write_csv(folder / "a.csv")
        return folder / "a.csv", {"text_column": "body"}
    if kind == "txt.xz":
        (folder / "a.txt.xz").write_bytes(lzma.compress(_lines().encode()))
        return folder / "a.txt.xz", {}
    if kind == "jsonl.gz":
        content = gzip.compress(_json_lines().encode())
        (folder / "a.jsonl.gz").write_bytes(content)
        return folder / "a.jsonl.gz", {}
    # Two files, read in the order of their names; and one that is not text.
    (folder / "part-2.txt").write_text("\n".join(_DOCUMENTS[60:]))
    (folder / "part-1.jsonl").write_text(_json_lines(_DOCUMENTS[:60]))
    (folder / "part-3.png").write_bytes(b"\x89PNG")
    return (folder / "part-*" if kind == "glob" else folder), {}


@pytest.fixture(scope="module")
def expected_ids():
    """Ids by the plain way: tokenize a list."""
    # What is held out does not help to choose the words.
    learned = [d for i, d in enumerate(_DOCUMENTS) if i % 10 != 9]
    counts = text.count_tokens(text.split_words, learned)
    tokenizer = text.WordTokenizer(text.Vocabulary.build(counts, 100, 1))
    documents = tokenizer(_DOCUMENTS).to_list()
    held_out = [document for i, document in enumerate(documents) if i % 10 == 9]
    kept = [document for i, document in enumerate(documents) if i % 10 != 9]
    return [sum(kept, []), sum(held_out, [])]


@pytest.mark.parametrize(
    "kind", ["txt", "jsonl", "csv", "txt.xz", "jsonl.gz", "glob", "folder"]
)
def test_every_source_gives_the_same_ids(kind, expected_ids, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    corpus, settings = _source(kind, source)
    result = prepare(corpus, tmp_path / "run", **settings)
    for part, ids in zip(
        (result.train, result.validation), expected_ids, strict=True
    ):
        np.testing.assert_array_equal(part.token_ids, ids)


def test_registered_shards_are_found_in_the_data_folder(tmp_path):
    folder = tmp_path / "data" / "wikipedia-en-2015"
    folder.mkdir(parents=True)
    for shard in range(2):
        content = _json_lines(_DOCUMENTS[60 * shard :][:60], title="Title")
        path = folder / f"wiki-0{shard}.jsonl.xz"
        path.write_bytes(lzma.compress(content.encode()))
    result = prepare(
        "wikipedia-en-2015", tmp_path / "run", data_dir=folder.parent
    )
    assert len(result.train) + len(result.validation) == len(_DOCUMENTS)
    title = result.tokenizer.vocabulary.index("title")
    assert all(title in document for document in result.validation)


def test_a_resumed_run_keeps_its_ids(tmp_path):
    (tmp_path / "a.txt").write_text(_lines())
    first = prepare(tmp_path / "a.txt", tmp_path / "run")
    other = LanguageModelRecipe(vocabulary_size=30, min_frequency=5)
    again = prepare(tmp_path / "a.txt", tmp_path / "run", other)
    np.testing.assert_array_equal(again.train.token_ids, first.train.token_ids)


def test_a_resumed_run_keeps_the_words_of_its_pretrained_model(tmp_path):
    (tmp_path / "a.txt").write_text(_lines())

    def prepared(*words):
        vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, *words])
        return prepare(
            tmp_path / "a.txt",
            tmp_path / "run",
            start=_pretrained(text.WordTokenizer(vocabulary)),
            extend_vocabulary=False,
        )

    first = prepared("cat", "mat")
    # Another model of the same size has come to lie in its folder.
    again = prepared("mat", "cat")
    np.testing.assert_array_equal(again.train.token_ids, first.train.token_ids)


@pytest.mark.parametrize("change", ["file_more", "other_text"])
def test_a_resumed_run_refuses_another_text(change, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.txt").write_text(_lines())
    prepare(folder / "*.txt", tmp_path / "run")
    if change == "file_more":
        changed = folder / "b.txt"
        changed.write_text("One document more.\n")
    else:
        changed = folder / "a.txt"
        # As many bytes as before.
        changed.write_text(_lines().replace("cat", "dog"))
    with pytest.raises(UserError, match=f"What differs: {changed.name}. Put"):
        prepare(folder / "*.txt", tmp_path / "run")
    if change == "file_more":
        changed.unlink()
        prepare(folder / "*.txt", tmp_path / "run")


@pytest.mark.parametrize("fraction", [0.5, 0.4, 0.3, 0.15, 0.1])
def test_as_much_is_held_out_as_was_asked_for(fraction, tmp_path):
    (tmp_path / "a.txt").write_text(_lines())
    result = prepare(
        tmp_path / "a.txt", tmp_path / "run", validation_fraction=fraction
    )
    assert len(result.validation) == len(_DOCUMENTS) * fraction
    assert len(result.train) == len(_DOCUMENTS) * (1 - fraction)


def test_pieces_with_other_scores_have_a_cache_of_their_own(tmp_path):
    """Two models of the same pieces may cut words differently."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(
        text.train_sentencepiece(_DOCUMENTS, 60)
    )
    other = sentencepiece_model_pb2.ModelProto()
    other.CopyFrom(proto)
    for piece in other.pieces:
        # Single characters become the likeliest pieces.
        if piece.type == piece.NORMAL and len(piece.piece) > 1:
            piece.score = -1000.0
    (tmp_path / "a.txt").write_text(_lines())
    results = []
    for number, each in enumerate((proto, other)):
        tokenizer = text.SentencePieceTokenizer(each.SerializeToString())
        result = prepare(
            tmp_path / "a.txt",
            tmp_path / f"run-{number}",
            start=_pretrained(tokenizer),
        )
        expected = tokenizer(
            [d for i, d in enumerate(_DOCUMENTS) if i % 10 == 9]
        )
        np.testing.assert_array_equal(
            result.validation.token_ids, expected.flat_values
        )
        results.append(result)
    vocabularies = [result.tokenizer.vocabulary for result in results]
    assert vocabularies[0] == vocabularies[1]
    assert results[0].train.num_tokens < results[1].train.num_tokens


def _mistake(kind, folder):
    if kind == "column":
        _write_csv(folder / "a.csv")
        return folder / "a.csv", "body"
    if kind == "no_text":
        (folder / "a.jsonl").write_text('{"text": 3}\n')
        return folder / "a.jsonl", "must hold strings"
    if kind == "cut_short":
        content = lzma.compress(_lines().encode())[:-20]
        (folder / "a.txt.xz").write_bytes(content)
        return folder / "a.txt.xz", "damaged or cut short"
    if kind == "blank":
        (folder / "a.txt").write_text("\n\n")
        return folder / "a.txt", "hold no documents"
    if kind == "format":
        (folder / "a.pdf").write_bytes(b"%PDF")
        return folder / "a.pdf", ".jsonl"
    if kind == "little":
        (folder / "a.txt").write_text("One.\nTwo.\nThree.\n")
        return folder / "a.txt", "at least 100 are needed"
    return folder / "*.txt", "no corpus"


@pytest.mark.parametrize(
    "kind",
    ["column", "no_text", "cut_short", "blank", "format", "little", "none"],
)
def test_a_mistake_is_named(kind, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    corpus, message = _mistake(kind, source)
    with pytest.raises((DataError, UserError), match=message):
        prepare(corpus, tmp_path / "run")


def _pretrained(tokenizer):
    size = len(tokenizer.vocabulary)
    rng = np.random.default_rng(3)
    weights = {
        "embedding": rng.normal(size=(size, 4)).astype("float32"),
        "decoder/bias": rng.normal(size=size).astype("float32"),
    }
    return pretrained.PretrainedLanguageModel(
        models.Architecture(4, 5), "forward", tokenizer, weights
    )


def test_a_pretrained_vocabulary_learns_the_corpus_words(tmp_path):
    (tmp_path / "a.txt").write_text(_lines())
    words = [*text.SPECIAL_TOKENS, "cat", "dog"]
    start = _pretrained(text.WordTokenizer(text.Vocabulary(words)))
    result = prepare(tmp_path / "a.txt", tmp_path / "run", start=start)
    vocabulary = result.tokenizer.vocabulary
    assert vocabulary.tokens[: len(words)] == tuple(words)
    assert "mat" in vocabulary
    for name, array in start.weights.items():
        np.testing.assert_array_equal(result.weights[name][: len(words)], array)
        np.testing.assert_allclose(
            result.weights[name][vocabulary.index("mat")],
            array.mean(axis=0),
            rtol=1e-5,
        )
    kept = prepare(
        tmp_path / "a.txt",
        tmp_path / "other",
        start=start,
        extend_vocabulary=False,
    )
    assert kept.tokenizer.vocabulary.tokens == tuple(words)


def test_pieces_stay_as_they_are(tmp_path):
    (tmp_path / "a.txt").write_text(_lines())
    model = text.train_sentencepiece(_DOCUMENTS, 60)
    start = _pretrained(text.SentencePieceTokenizer(model))
    result = prepare(tmp_path / "a.txt", tmp_path / "run", start=start)
    assert result.tokenizer.model == model
    np.testing.assert_array_equal(
        result.weights["embedding"], start.weights["embedding"]
    )


def test_words_that_are_only_held_out_are_unknown(tmp_path):
    documents = list(_DOCUMENTS)
    documents[9] += " Zebras zebras zebras."
    (tmp_path / "a.txt").write_text("\n".join(documents))
    result = prepare(tmp_path / "a.txt", tmp_path / "run")
    assert "zebras" not in result.tokenizer.vocabulary
    assert (result.validation.token_ids == text.UNKNOWN_ID).sum() >= 3


def test_files_that_appear_meanwhile_are_not_read(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text(_lines())
    # The run lies among the texts, and stores its vocabulary there.
    result = prepare(source, source / "run")
    assert (source / "run" / "tokenizer" / "vocabulary.txt").exists()
    found = len(result.train) + len(result.validation)
    assert found == len(_DOCUMENTS)


@pytest.mark.parametrize("kind", ["word", "sentencepiece"])
@pytest.mark.parametrize("work", ["new_tokenizer", "cached_corpus"])
def test_a_corpus_that_grows_while_it_is_read_is_refused(
    work, kind, tmp_path, monkeypatch
):
    path = tmp_path / "a.txt"
    path.write_text(_lines())
    do = getattr(corpus_text, work)

    def late(*arguments):
        with open(path, "a") as file:
            file.write("A line more.\n")
        return do(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(corpus_text, work, late)
        with pytest.raises(DataError, match="^`.*a.txt` changed while"):
            prepare(path, tmp_path / "run", tokenizer=kind)
    # Nothing of it is left to be taken for the text of before.
    path.write_text(_lines())
    result = prepare(path, tmp_path / "other", tokenizer=kind)
    found = len(result.train) + len(result.validation)
    assert found == len(_DOCUMENTS)


def test_a_mistake_in_the_corpus_is_not_the_vocabulary_s(tmp_path):
    _write_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match="^`.*a.csv` has no column `text`"):
        prepare(tmp_path / "a.csv", tmp_path / "run")


def test_too_little_held_out_is_told_before_all_is_tokenized(
    tmp_path, monkeypatch
):
    (tmp_path / "a.txt").write_text(_lines())
    made = []
    monkeypatch.setattr(
        corpus_text,
        "cached_corpus",
        lambda directory, *arguments: (
            made.append(directory.name) or cached_corpus(directory, *arguments)
        ),
    )
    with pytest.raises(UserError, match="0 documents"):
        prepare(tmp_path / "a.txt", tmp_path / "run", validation_fraction=0.001)
    assert made == ["validation"]


def test_the_unknown_are_told_before_training(tmp_path, caplog):
    (tmp_path / "a.txt").write_text(_lines())
    start = _pretrained(
        text.WordTokenizer(text.Vocabulary([*text.SPECIAL_TOKENS, "cat"]))
    )
    caplog.set_level("INFO", "trainers")
    result = prepare(
        tmp_path / "a.txt",
        tmp_path / "run",
        start=start,
        extend_vocabulary=False,
    )
    share = 100 * np.mean(result.validation.token_ids == text.UNKNOWN_ID)
    assert f"{share:.1f} % of the tokens are unknown" in caplog.text
    assert "Is this the language of the vocabulary?" in caplog.text
    caplog.clear()
    prepare(tmp_path / "a.txt", tmp_path / "other")
    assert "Is this the language" not in caplog.text


def test_a_cache_that_cannot_be_written_is_told_first(
    tmp_path, monkeypatch, caplog
):
    (tmp_path / "a.txt").write_text(_lines())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    caplog.set_level("INFO", "trainers")
    with pytest.raises(DataError, match="set `XDG_CACHE_HOME` to a folder"):
        prepare(tmp_path / "a.txt", tmp_path / "run")
    assert "learning the vocabulary" not in caplog.text


def test_long_work_tells_how_far_it_is(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(corpus_text, "_TELL_SECONDS", 0.0)
    (tmp_path / "a.txt").write_text(_lines())
    caplog.set_level("INFO", "trainers")
    prepare(tmp_path / "a.txt", tmp_path / "run")
    for line in (
        "learning the vocabulary: 108 documents",
        "tokenizing the training text: 108 documents",
        "tokenizing the validation text: 12 documents",
    ):
        assert line in caplog.text
