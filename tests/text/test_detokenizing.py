"""Detokenizing undoes what the tokenizer did to readable text."""

import pytest

from ulmfit_tf.text import detokenize_pieces, detokenize_words, split_words


@pytest.mark.parametrize(
    "written",
    [
        "The meaning of life.",
        "Don't PANIC!!!",
        "You can't, they've said; we'll see (or not).",
        'She said "this is it" and left.',
        "The well-known, 20-year-old U.S. company: 3,141 staff at 10:30!",
        "It costs $5.50 or 20%?",
        "No no no no!",
        "The cat's house and John's [own] and/or hers",
    ],
)
def test_text_survives_tokenizing(written):
    tokens = [t.decode() for t in split_words([written])[0].numpy()]
    assert detokenize_words(tokens) == written


@pytest.mark.parametrize(
    "tokens, expected",
    [
        pytest.param("xxmaj xxmaj the xxup", "The", id="marks_of_nothing"),
        pytest.param("xxrep the cat", "the cat", id="no_number"),
        pytest.param("a xxrep 3", "a", id="nothing_to_repeat"),
        pytest.param("a xxwrep 9999 b", "a " + "b " * 19 + "b", id="many"),
        pytest.param(
            "xxbos a xxunk b xxpad xxfake3 xxeos", "a b", id="special"
        ),
        pytest.param("", "", id="empty"),
    ],
)
def test_what_no_tokenizer_writes_is_text_too(tokens, expected):
    assert detokenize_words(tokens.split()) == expected


def test_pieces_are_joined_at_their_blanks():
    pieces = ["xxbos", "\u2581the", "\u2581mean", "ing", "xxunk", "."]
    assert detokenize_pieces(pieces) == " the meaning."
