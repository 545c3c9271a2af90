"""WordTokenizer: golden examples and input that nobody expects."""

import random

import pytest
import tensorflow as tf

from ulmfit_tf.text import (
    BEGIN_ID,
    PADDING_ID,
    SPECIAL_TOKENS,
    UNKNOWN_ID,
    Vocabulary,
    WordTokenizer,
    join_fields,
    split_words,
)

MEGABYTE = 1 << 20

GOLDEN = [
    pytest.param("", "", id="empty"),
    pytest.param(" \t\r\n ", "", id="white_space"),
    pytest.param("The cat", "xxmaj the cat", id="capitalised"),
    pytest.param("I AM a CAT", "i xxup am a xxup cat", id="capitals"),
    pytest.param("McDonald iPhone", "mcdonald iphone", id="mixed_case"),
    pytest.param("Élan ÉTÉ", "élan été", id="only_ascii_capitals_count"),
    pytest.param("sooo good", "s xxrep 3 o good", id="characters"),
    pytest.param("aa!!", "aa ! !", id="two_are_no_repetition"),
    pytest.param("AAAb", "xxrep 3 a b", id="capital_characters"),
    pytest.param("привееет", "прив xxrep 3 е т", id="other_letters"),
    pytest.param("👍👍👍👍", "xxrep 4 👍", id="emoji_repeated"),
    pytest.param("a////b", "a xxrep 4 / b", id="slashes"),
    pytest.param("no no no", "xxwrep 3 no", id="words"),
    pytest.param("no no no!", "xxwrep 3 no !", id="words_punctuation"),
    pytest.param("no no, no no", "no no , no no", id="words_interrupted"),
    pytest.param("no no", "no no", id="two_words"),
    pytest.param("No no no", "xxmaj no no no", id="words_differ_in_case"),
    pytest.param("Ha Ha Ha.", "xxwrep 3 xxmaj ha .", id="words_capital"),
    pytest.param("- - - -", "- - - -", id="punctuation_is_no_word"),
    pytest.param(
        "a a a b b b b c", "xxwrep 3 a xxwrep 4 b c", id="words_in_a_row"
    ),
    # fastai, which looks for characters first, finds no repeated word here.
    pytest.param(
        "sooo sooo sooo", "xxwrep 3 s xxrep 3 o", id="words_before_characters"
    ),
    pytest.param(
        "don't can't it's I'm we'll they've she'd you're",
        "do n't ca n't it 's xxmaj i 'm we 'll they 've she 'd you 're",
        id="contractions",
    ),
    pytest.param("it’s don’t", "it 's do n't", id="typographic_apostrophe"),
    pytest.param("do n't John 's", "do n't xxmaj john 's", id="split_already"),
    pytest.param("o'clock", "o'clock", id="inner_apostrophe"),
    pytest.param("'hello' dogs'", "' hello ' dogs '", id="single_quotes"),
    pytest.param('"hi," (she said).', '" hi , " ( she said ) .', id="quotes"),
    pytest.param("``a'' “b”", "`` a '' “ b ”", id="other_quotes"),
    pytest.param("well-known mp-3", "well - known mp-3", id="hyphens"),
    pytest.param("1998-2001 -5", "1998 - 2001 -5", id="hyphens_digits"),
    pytest.param("a--b a — b", "a -- b a — b", id="dashes"),
    pytest.param("1,250.5 10:30", "1,250.5 10:30", id="numbers"),
    pytest.param("50% $5 €7", "50 % $ 5 € 7", id="units"),
    pytest.param("u.s. e.g., a.m.", "u.s. e.g. , a.m.", id="acronyms"),
    pytest.param("J. K. Rowling", "xxup j. xxup k. xxmaj rowling", id="names"),
    pytest.param("end. End", "end . xxmaj end", id="full_stop"),
    pytest.param("well... so..", "well … so ..", id="ellipsis"),
    pytest.param("a/b #c", "a / b # c", id="slash_and_hash"),
    pytest.param("x@y.org", "x@y.org", id="mail"),
    pytest.param(
        "see http://a.com/b", "see http : / / a.com / b", id="address"
    ),
    pytest.param(":) :-( <3 ;P", ":) :-( <3 ;p", id="emoticons"),
    pytest.param("ok👍fine 🇫🇷", "ok 👍 fine 🇫🇷", id="emoji"),
    pytest.param("👨‍👩‍👧 👍🏽", "👨‍👩‍👧 👍🏽", id="joined_emoji"),
    pytest.param("日本語。", "日 本 語 。", id="chinese_characters"),
    pytest.param("שלום עולם", "שלום עולם", id="right_to_left"),
    pytest.param("\u202bשלום\u200f!", "שלום !", id="direction_marks"),
    pytest.param("a<br /><br />b\\nc", "a b c", id="line_breaks"),
    pytest.param("r#39;s &amp; &lt; stamp;", "r 's & < stamp ;", id="html"),
    pytest.param("1 @,@ 250 @.@ 5 @-@ x", "1,250.5 - x", id="wikitext"),
    pytest.param("<unk> xxunk", "xxunk xxunk", id="unknown"),
    pytest.param("a\x00b\x07c\x7f", "a b c", id="control_characters"),
    pytest.param("a\u00a0b\u2028c\u3000d", "a b c d", id="other_spaces"),
    pytest.param(b"\xffbad\xc3", "� bad �", id="invalid_utf8"),
]


@pytest.fixture(scope="module")
def tokenizer():
    words = ["the", "cat", "a", "very", "good", "👍", "3", "!"]
    return WordTokenizer(Vocabulary([*SPECIAL_TOKENS, *words]))


def tokens_of(text, **arguments):
    received = split_words([text], **arguments).to_list()[0]
    return " ".join(token.decode("utf-8") for token in received)


@pytest.mark.parametrize("text, expected", GOLDEN)
def test_golden(text, expected):
    assert tokens_of(text) == f"xxbos {expected}".strip()


def test_letter_case_can_stay():
    assert (
        tokens_of("The CAT didN'T, Mr. X.", lowercase=False)
        == "xxbos The CAT did N'T , Mr . X."
    )


def test_ids_are_those_of_the_tokens(tokenizer):
    texts = [param.values[0] for param in GOLDEN]
    ids = tokenizer(texts)
    assert ids.dtype == tf.int32
    assert ids.row_splits.dtype == tf.int64
    expected = [
        [tokenizer.vocabulary.index(token.decode()) for token in tokens]
        for tokens in tokenizer.tokenize(texts).to_list()
    ]
    assert ids.to_list() == expected
    assert all(row[0] == BEGIN_ID for row in expected)


def test_padding_id_never_comes_from_text(tokenizer):
    ids = tokenizer(["xxpad the XXPAD Xxpad", "xxpad xxpad xxpad"])
    assert PADDING_ID not in ids.values.numpy()
    # xxbos xxunk the xxup xxunk xxmaj xxunk; xxbos xxwrep 3 xxunk
    assert ids.to_list() == [
        [2, UNKNOWN_ID, 9, 7, UNKNOWN_ID, 8, UNKNOWN_ID],
        [2, 6, 15, UNKNOWN_ID],
    ]


def test_document_begins_once_whatever_it_says():
    assert tokens_of("xxbos xxbos a") == "xxbos xxbos xxbos a"


def test_empty_batch(tokenizer):
    empty = tf.constant([], tf.string)
    assert tokenizer(empty).to_list() == []
    assert tokenizer.tokenize(empty).to_list() == []


def test_answers_do_not_depend_on_the_batch(tokenizer):
    texts = [param.values[0] for param in GOLDEN] * 2
    signature = [tf.TensorSpec([None], tf.string)]
    call = tf.function(tokenizer.__call__, input_signature=signature)
    together = call(texts).to_list()
    assert together == [call([text]).to_list()[0] for text in texts]
    assert together == call(texts[::-1]).to_list()[::-1]


def repeated_words_by_loop(words):
    """`xxwrep`, word by word; "a!" may end a repetition of "a"."""
    tokens = []
    while words:
        word, count, rest = words[0], 1, ""
        while word.isalpha() and words[count : count + 1] == [word]:
            count += 1
        follower = "".join(words[count : count + 1])
        if word.isalpha() and count > 1 and follower[:-1] == word:
            count, rest = count + 1, follower[-1]
        if count >= 3:
            tokens += ["xxwrep", str(count), word, *rest]
            words = words[count:]
        else:
            tokens += [*word]
            words = words[1:]
    return tokens


def test_repeated_words_against_a_loop():
    generator = random.Random(0)
    documents = [
        generator.choices(["a", "b", "a!", "b;", "?"], [6, 3, 2, 1, 1], k=k)
        for k in range(60)
        for _ in range(5)
    ]
    received = split_words([" ".join(words) for words in documents])
    assert received.to_list() == [
        [token.encode() for token in ["xxbos", *repeated_words_by_loop(words)]]
        for words in documents
    ]


def test_repeated_words_stop_at_the_end_of_a_document():
    received = split_words(["a very very", "very very", "very"]).to_list()
    assert [len(row) for row in received] == [4, 3, 2]


@pytest.mark.parametrize(
    "text, expected",
    [
        pytest.param("a" * MEGABYTE, f"xxrep {MEGABYTE} a", id="character"),
        pytest.param(
            "👍" * (MEGABYTE // 4), f"xxrep {MEGABYTE // 4} 👍", id="emoji"
        ),
        pytest.param(
            "very " * (MEGABYTE // 5), f"xxwrep {MEGABYTE // 5} very", id="word"
        ),
        pytest.param(" " * MEGABYTE, "", id="blanks"),
        pytest.param("\0" * MEGABYTE, "", id="nul"),
        pytest.param("ab" * (MEGABYTE // 2), "ab" * (MEGABYTE // 2), id="long"),
        pytest.param(
            "a-" * (MEGABYTE // 2),
            "a - " * (MEGABYTE // 2 - 1) + "a-",
            id="hyphens",
        ),
    ],
)
def test_a_megabyte(text, expected):
    assert tokens_of(text) == f"xxbos {expected}".strip()


def test_works_in_a_data_pipeline(tokenizer):
    texts = tf.data.Dataset.from_tensor_slices(["the cat", "a", "", "A CAT"])
    batches = texts.batch(3).map(tokenizer)
    rows = [row for batch in batches for row in batch.to_list()]
    assert rows == [[2, 9, 10], [2, 11], [2], [2, 11, 7, 10]]


@pytest.mark.parametrize("texts", ["one text", [["a"], ["b"]]])
def test_other_ranks_are_refused(tokenizer, texts):
    with pytest.raises(ValueError, match="shape"):
        tokenizer(texts)


def test_a_list_is_no_vocabulary():
    with pytest.raises(ValueError, match="`Vocabulary`"):
        WordTokenizer(list(SPECIAL_TOKENS))


def test_join_fields():
    assert join_fields("A", "b c") == "xxfld 1 A xxfld 2 b c"
    columns = tf.constant(["A", "B"]), tf.constant(["x", ""])
    joined = join_fields(*columns)
    assert joined.numpy().tolist() == [
        b"xxfld 1 A xxfld 2 x",
        b"xxfld 1 B xxfld 2 ",
    ]
    assert tokens_of(joined[1]) == "xxbos xxfld 1 b xxfld 2"
    with pytest.raises(ValueError, match="column"):
        join_fields()
