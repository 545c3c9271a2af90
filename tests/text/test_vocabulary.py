"""Vocabulary: rules, building, and its file."""

import pytest

from ulmfit_tf.text import (
    BEGIN_ID,
    PADDING_ID,
    SPECIAL_TOKENS,
    UNKNOWN_ID,
    Vocabulary,
)

# Tokens with line separators that are not line feeds, and other oddities.
ODD_TOKENS = ["the", "a\u2028b", "c\x85d", "e\x0bf", "\u00a0", "👍", " x"]


def test_special_ids_are_where_the_constants_say():
    vocabulary = Vocabulary(SPECIAL_TOKENS)
    assert vocabulary[UNKNOWN_ID] == "xxunk"
    assert vocabulary[PADDING_ID] == "xxpad"
    assert vocabulary[BEGIN_ID] == "xxbos"
    assert [vocabulary.index(t) for t in SPECIAL_TOKENS] == list(range(9))


def test_lookup():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "the", "cat"])
    assert len(vocabulary) == 11
    assert vocabulary.tokens[-2:] == ("the", "cat")
    assert vocabulary.index("cat") == 10
    assert vocabulary.index("dog") == UNKNOWN_ID
    assert "cat" in vocabulary and "dog" not in vocabulary
    assert list(vocabulary) == list(vocabulary.tokens)


def test_equality_and_fingerprint():
    one = Vocabulary([*SPECIAL_TOKENS, "a", "b"])
    same = Vocabulary([*SPECIAL_TOKENS, "a", "b"])
    other = Vocabulary([*SPECIAL_TOKENS, "b", "a"])
    assert one == same and hash(one) == hash(same)
    assert one.fingerprint() == same.fingerprint()
    assert one != other and one.fingerprint() != other.fingerprint()
    assert one != list(one)
    # Independent of the implementation: `printf '...' | sha256sum`.
    assert Vocabulary(SPECIAL_TOKENS).fingerprint() == (
        "0404d0a9332fa6c6264584de3218168a429b380b0255d8b08ea396bc84d8bc8a"
    )


def test_is_immutable():
    vocabulary = Vocabulary(SPECIAL_TOKENS)
    with pytest.raises(AttributeError):
        vocabulary.tokens = ()
    with pytest.raises(AttributeError):
        vocabulary.extra = 1


@pytest.mark.parametrize(
    "tokens, message",
    [
        pytest.param([], "begin with the special tokens", id="empty"),
        pytest.param(
            ["the", *SPECIAL_TOKENS], "begin with the special", id="order"
        ),
        pytest.param([*SPECIAL_TOKENS, "a", "a"], "repeat", id="duplicate"),
        pytest.param([*SPECIAL_TOKENS, "xxpad"], "repeat", id="special_twice"),
        pytest.param([*SPECIAL_TOKENS, "a\nb"], "line feed", id="line_feed"),
        pytest.param([*SPECIAL_TOKENS, "a\r"], "carriage", id="return"),
        pytest.param([*SPECIAL_TOKENS, ""], "non-empty", id="empty_token"),
        pytest.param([*SPECIAL_TOKENS, b"a"], "strings", id="bytes"),
        pytest.param("xxunk", "not one string", id="string"),
    ],
)
def test_broken_rules_are_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens)


def test_build_ranks_by_frequency_then_text():
    counts = {"c": 5, "b": 7, "a": 5, "rare": 2, "xxbos": 99, "d": 3}
    vocabulary = Vocabulary.build(counts, multiple_of=1)
    assert vocabulary.tokens == (*SPECIAL_TOKENS, "b", "a", "c", "d")
    shuffled = dict(reversed(counts.items()))
    assert Vocabulary.build(shuffled, multiple_of=1) == vocabulary


def test_build_pads_to_a_multiple_without_collisions():
    vocabulary = Vocabulary.build({"xxfake1": 8, "a": 9}, multiple_of=8)
    assert vocabulary.tokens[9:] == (
        "a",
        "xxfake1",
        "xxfake0",
        "xxfake2",
        "xxfake3",
        "xxfake4",
        "xxfake5",
    )


def test_build_needs_no_padding_at_a_multiple():
    counts = {str(n): 100 - n for n in range(50)}
    vocabulary = Vocabulary.build(counts, max_size=16)
    assert vocabulary.tokens[9:] == tuple(str(n) for n in range(7))


@pytest.mark.parametrize(
    "arguments",
    [{"max_size": 8}, {"min_frequency": 0}, {"multiple_of": 0}],
)
def test_build_refuses_impossible_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Vocabulary.build({"a": 3}, **arguments)


def test_file_round_trip(tmp_path):
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *ODD_TOKENS])
    path = tmp_path / "vocabulary.txt"
    vocabulary.save(path)
    assert Vocabulary.load(path) == vocabulary
    assert path.read_bytes().count(b"\n") == len(vocabulary)
    assert [p.name for p in tmp_path.iterdir()] == ["vocabulary.txt"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "vocabulary.txt"
    Vocabulary(SPECIAL_TOKENS).save(path)
    with pytest.raises(UnicodeEncodeError):
        Vocabulary([*SPECIAL_TOKENS, "\ud800"]).save(path)
    assert Vocabulary.load(path) == Vocabulary(SPECIAL_TOKENS)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "content, message",
    [
        pytest.param(b"", "cut short", id="empty"),
        pytest.param(b"the\ncat\n", "special tokens", id="other_list"),
        pytest.param(
            "\n".join([*SPECIAL_TOKENS, "th"]).encode(), "cut short", id="cut"
        ),
        pytest.param(b"\xff\xfe\n", "UTF-8", id="not_utf8"),
        pytest.param(
            "".join(f"{t}\r\n" for t in SPECIAL_TOKENS).encode(),
            "special tokens",
            id="windows_line_ends",
        ),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        Vocabulary.load(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        Vocabulary.load(tmp_path / "none.txt")
