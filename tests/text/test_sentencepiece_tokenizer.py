"""SentencePieceTokenizer against the sentencepiece library."""

import io
import random

import pytest
import sentencepiece
import tensorflow as tf
from sentencepiece import sentencepiece_model_pb2

from ulmfit_tf.text import (
    BEGIN_ID,
    PADDING_ID,
    SPECIAL_TOKENS,
    SentencePieceTokenizer,
    sentencepiece_tokenizer,
    train_sentencepiece,
)

MEGABYTE = 1 << 20
SYLLABLES = ["ka", "to", "mi", "ren", "sol", "du", "pe", "lin", "ga", "é"]


def corpus(documents):
    """Sentences of invented words, the same in every run."""
    generator = random.Random(0)
    words = [
        "".join(generator.choices(SYLLABLES, k=generator.randint(1, 4)))
        for _ in range(300)
    ]
    return [
        " ".join(generator.choices(words, k=20)).capitalize() + "."
        for _ in range(documents)
    ]


@pytest.fixture(scope="module")
def model():
    return train_sentencepiece(corpus(400), 200)


@pytest.fixture(scope="module")
def tokenizer(model):
    return SentencePieceTokenizer(model)


def test_special_tokens_have_their_ids(tokenizer):
    assert len(tokenizer.vocabulary) == 200
    assert tokenizer.vocabulary.tokens[:9] == SPECIAL_TOKENS


def test_ids_are_the_library_s(tokenizer, model):
    library = sentencepiece.SentencePieceProcessor(model_proto=model)
    texts = [
        *corpus(600)[400:],
        "",
        "  ",
        "xxfld 1 kato xxfld 2 xxmaj",
        "xxbos xxeos xxunk",
        "KATO ﬁ ① 日本語 👍 שלום e\u0301",
        "▁ka▁ ▁",
    ]
    ids = tokenizer(texts)
    assert ids.dtype == tf.int32
    assert ids.row_splits.dtype == tf.int64
    assert ids.to_list() == [[BEGIN_ID, *library.encode(t)] for t in texts]
    pieces = tokenizer.tokenize(texts).to_list()
    assert pieces == [
        [tokenizer.vocabulary[i].encode() for i in row] for row in ids.to_list()
    ]


def test_letter_case_can_be_folded():
    model = train_sentencepiece(corpus(400), 200, lowercase=True)
    rows = SentencePieceTokenizer(model)(["KATO Kato", "kato kato"]).to_list()
    assert rows[0] == rows[1]


def test_training_is_deterministic(model):
    assert train_sentencepiece(iter(corpus(400)), 200) == model


def test_html_remains_are_undone(tokenizer):
    rows = tokenizer(["ka<br />to &amp; mi", "ka to & mi"]).to_list()
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\xff\xfe\xc3", id="invalid_utf8"),
        pytest.param("\0ka\0to\x07\x1b", id="control_characters"),
        pytest.param("xxpad xxpad", id="padding_token"),
        pytest.param("👍👨‍👩‍👧🇫🇷", id="emoji"),
        pytest.param("\u202bשלום\u200f עולם", id="right_to_left"),
        pytest.param("a" * MEGABYTE, id="one_character"),
        pytest.param("kato " * (MEGABYTE // 5), id="one_word"),
        pytest.param("katomi" * (MEGABYTE // 6), id="no_blank"),
        pytest.param(" " * MEGABYTE, id="blanks"),
    ],
)
def test_any_text_is_answered_alike_in_any_batch(tokenizer, text):
    (alone,) = tokenizer(tf.constant([text])).to_list()
    assert alone[0] == BEGIN_ID and PADDING_ID not in alone
    batch = tokenizer(tf.constant(["ka to", text, ""])).to_list()
    assert batch[1] == alone and batch[2] == [BEGIN_ID]


def test_empty_batch(tokenizer):
    empty = tf.constant([], tf.string)
    assert tokenizer(empty).to_list() == []
    assert tokenizer.tokenize(empty).to_list() == []


def library_model(**options):
    writer = io.BytesIO()
    settings = dict(
        vocab_size=200,
        unk_piece="xxunk",
        pad_id=1,
        pad_piece="xxpad",
        bos_id=2,
        bos_piece="xxbos",
        eos_id=3,
        eos_piece="xxeos",
        user_defined_symbols=list(SPECIAL_TOKENS[4:]),
        minloglevel=2,
    )
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus(400)),
        model_writer=writer,
        **{**settings, **options},
    )
    return writer.getvalue()


@pytest.mark.parametrize(
    "options, message",
    [
        pytest.param({"model_type": "bpe"}, "model_type=BPE", id="bpe"),
        pytest.param(
            {"byte_fallback": True, "vocab_size": 400},
            "byte_fallback=True",
            id="bytes",
        ),
        pytest.param(
            {"treat_whitespace_as_suffix": True},
            "treat_whitespace_as_suffix=True",
            id="suffix",
        ),
        pytest.param(
            {"add_dummy_prefix": False}, "add_dummy_prefix=False", id="prefix"
        ),
        pytest.param(
            {"unk_piece": "<unk>"}, "special tokens", id="other_specials"
        ),
    ],
)
def test_models_that_would_be_wrong_are_refused(options, message):
    with pytest.raises(ValueError, match=message) as raised:
        SentencePieceTokenizer(library_model(**options))
    assert "train_sentencepiece" in str(raised.value)


@pytest.mark.parametrize(
    "table", [b"garbage" * 20, b"\xff\xff\xff\x7f" + bytes(96)]
)
def test_a_hostile_normalization_is_refused(model, table):
    """TensorFlow Text would end the process."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    proto.normalizer_spec.precompiled_charsmap = table
    with pytest.raises(ValueError, match="none of SentencePiece's"):
        SentencePieceTokenizer(proto.SerializeToString())


def test_another_id_of_the_unknown_is_refused(model):
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    proto.trainer_spec.unk_id = 50
    with pytest.raises(ValueError, match="unk_id=50"):
        SentencePieceTokenizer(proto.SerializeToString())


@pytest.mark.parametrize("content", [b"not a model", "text", b""])
def test_other_bytes_are_refused(content):
    with pytest.raises(ValueError, match="model"):
        SentencePieceTokenizer(content)


def test_model_without_pieces_is_refused():
    empty = sentencepiece_model_pb2.ModelProto().SerializeToString()
    with pytest.raises(ValueError, match="special tokens"):
        SentencePieceTokenizer(empty)


def test_a_small_corpus_yields_fewer_pieces_than_asked_for():
    model = train_sentencepiece(["a few words and a few more"] * 5, 5000)
    tokenizer = SentencePieceTokenizer(model)
    assert len(SPECIAL_TOKENS) < len(tokenizer.vocabulary) < 100


def test_no_text_is_an_error():
    with pytest.raises(ValueError, match="vocabulary_size=5000"):
        train_sentencepiece([], 5000)


def test_other_ranks_are_refused(tokenizer):
    with pytest.raises(ValueError, match="shape"):
        tokenizer("one text")


def test_pieces_are_learned_from_a_bounded_amount_of_text(monkeypatch):
    learned_from = []
    train = sentencepiece.SentencePieceTrainer.train

    def spy(sentence_iterator, **settings):
        sentences = list(sentence_iterator)
        learned_from.append(sum(map(len, sentences)))
        train(sentence_iterator=iter(sentences), **settings)

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", spy)
    monkeypatch.setattr(sentencepiece_tokenizer, "_MOST_CHARACTERS", 30_000)
    whole = sum(map(len, corpus(2000)))
    model = train_sentencepiece((text for text in corpus(2000)), 200)
    assert whole > 100_000
    assert 25_000 < learned_from[0] <= 30_000
    assert len(SentencePieceTokenizer(model).vocabulary) == 200
