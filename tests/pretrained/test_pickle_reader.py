"""Pickles are read as data, and hostile ones are refused unrun."""

import collections
import io
import os
import pickle
import pickletools
import struct
import time

import pytest

from ulmfit_tf.data.errors import DataError
from ulmfit_tf.pretrained.pickle_reader import (
    MAX_BYTES,
    MOST_OPERATIONS,
    Call,
    read_pickle,
)


def read(content, allowed=(), **kwargs):
    return read_pickle(io.BytesIO(content), "file.pkl", allowed, **kwargs)


VALUES = [
    ["the", "naïve", "\n", "日本", "", "x" * 300],
    {"a": [1, -1, 255, 65536, 2**40, -(2**70), 1.5, None, True, False]},
    ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}),
    list(range(2000)),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_plain_data_comes_back(value, protocol):
    assert read(pickle.dumps(value, protocol)) == value


def test_bytes_come_back():
    assert read(pickle.dumps([b"few", bytes(300)], 4)) == [b"few", bytes(300)]


def test_shared_values_are_read_once():
    shared = ["word"]
    found = read(pickle.dumps([shared, shared]))
    assert found[0] is found[1]


def test_a_file_of_several_pickles():
    file = io.BytesIO(pickle.dumps([1]) + pickle.dumps([2]) + b"rest")
    assert [read_pickle(file, "file") for _ in range(2)] == [[1], [2]]
    assert file.read() == b"rest"


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_dicts_of_the_standard_library(protocol):
    ordered = collections.OrderedDict([("b", 1), ("a", 2)])
    found = read(pickle.dumps(ordered, protocol))
    assert type(found) is dict and list(found.items()) == [("b", 1), ("a", 2)]
    default = collections.defaultdict(int, the=9)
    names = ("builtins.int", "__builtin__.long")
    assert read(pickle.dumps(default, protocol), names) == {"the": 9}


class Thing:
    def __reduce__(self):
        return Thing, (1, "two"), {"state": 3}


def test_allowed_objects_are_records():
    dotted = f"{__name__}.Thing"
    found = read(pickle.dumps(Thing(), 2), (dotted,))
    assert isinstance(found, Call)
    assert (found.name, found.arguments) == (dotted, (1, "two"))
    assert found.state == {"state": 3}


class Exploit:
    """What `pickle.loads` would call."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "function, name",
    [
        (os.system, "system"),
        (eval, "eval"),
        (exec, "exec"),
        (getattr, "getattr"),
        (__import__, "__import__"),
        (pickle.loads, "loads"),
        (os.popen, "popen"),
    ],
)
def test_functions_are_named_and_not_run(tmp_path, function, name, protocol):
    mark = tmp_path / "mark"
    content = pickle.dumps(
        ["the", Exploit(function, f"open({str(mark)!r}, 'w')")], protocol
    )
    with pytest.raises(DataError, match=f"names .*{name}.*nothing of it was"):
        read(content)
    assert not mark.exists()


def test_a_mark_that_pickle_would_have_made(tmp_path):
    """The attack above is one: `pickle` falls for it."""
    mark = tmp_path / "mark"
    content = pickle.dumps(Exploit(eval, f"open({str(mark)!r}, 'w').close()"))
    with pytest.raises(DataError):
        read(content)
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists()


def long(text):
    return b"X" + struct.pack("<I", len(text)) + text


HOSTILE = {
    "dotted_name": b"\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93.",
    "dict_attribute": b"\x80\x04\x8c\x0bcollections\x8c\x14"
    b"OrderedDict.__init__\x93.",
    "instance": b"(S'true'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nS'true'\no.",
    "new_with_keywords": b"ccollections\nOrderedDict\n)}\x92.",
    "extension": b"\x82\x01.",
    "call_of_data": b"X\x01\x00\x00\x00f(tR.",
    "call_of_a_list": b"](tR.",
    "call_with_a_list": b"ccollections\nOrderedDict\n]R.",
    "dict_with_arguments": b"ccollections\nOrderedDict\n(]tR.",
    "state_of_a_list": b"]}b.",
    "items_of_a_list": b"]K\x01K\x02s.",
    "appends_to_a_dict": b"}K\x01a.",
    "list_as_a_key": b"}]K\x01s.",
    "persistent": b"Pevil\n.",
    "persistent_binary": b"K\x01Q.",
    "buffer": b"\x97.",
    "duplicate_key_mark": b"}(K\x01u.",
    "name_of_a_list": b"](KKe\x8c\x01a\x93.",
    "number_with_decimals_as_a_key": b"}G?\xf0\0\0\0\0\0\0K\x01s.",
}
DAMAGED = {
    "empty": b"",
    "no_stop": b"]",
    "stop_alone": b".",
    "no_mark": b"t.",
    "unknown_memo": b"h\x07.",
    "unknown_opcode": b"\xff.",
    "tuple_of_nothing": b"\x86.",
    "string_beyond_the_end": b"X\xff\xff\xff\x7fabc.",
    "string_of_exabytes": b"\x8d" + b"\xff" * 7 + b"\x7fabc.",
    "bytes_of_exabytes": b"\x8e" + b"\xff" * 7 + b"\x7fabc.",
    "negative_long": b"\x8b\xff\xff\xff\xff.",
    "invalid_utf8": b"X\x01\x00\x00\x00\xff.",
    "number_of_letters": b"Iseven\n.",
    "number_of_a_million_digits": b"L" + b"9" * 10**6 + b"L\n.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_data_does_not_need_is_refused(content):
    with pytest.raises(DataError, match="nothing of it was run"):
        read(content)


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_told(content):
    with pytest.raises(DataError, match="cut short|damaged"):
        read(content)


def test_a_far_memo_slot_takes_no_memory():
    """A list-like memo would have had to hold two thousand million slots."""
    assert read(b"]r\xff\xff\xff\x7f.") == []


def test_nesting_beyond_the_recursion_limit():
    deep = read(b"]" * 100_000 + b"a" * 99_999 + b".")
    assert len(deep) == 1


@pytest.mark.parametrize(
    "content",
    [
        # Lists of a list twice, 40 deep: written out, terabytes.
        pytest.param(
            b"]q\0" + b"](h\0h\0eq\0" * 40 + b"\x8c\x01a\x93.", id="shared"
        ),
        pytest.param(
            b"]" * 50_000 + b"a" * 49_999 + b"\x8c\x01a\x93.", id="deep"
        ),
    ],
)
def test_a_name_is_not_written_out_of_other_things(content):
    with pytest.raises(DataError, match="nothing of it was run"):
        read(content)


# All of these numbers have the hash 0.
COLLIDING = [number * (2**61 - 1) for number in range(1, 20_000)]


def _memo_of(numbers):
    return b"]" + b"".join(b"p%d\n" % number for number in numbers) + b"."


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(pickle.dumps(dict.fromkeys(COLLIDING[:9]), 2), id="keys"),
        pytest.param(_memo_of(COLLIDING), id="memo"),
    ],
)
def test_numbers_of_one_hash_are_refused(content):
    assert {hash(number) for number in COLLIDING} == {0}
    began = time.process_time()
    with pytest.raises(DataError, match="very large number"):
        read(content)
    assert time.process_time() - began < 1


def test_ids_of_parameters_may_be_keys():
    """As PyTorch's optimizers had them up to version 1.4."""
    state = {140_234_567_890_128: {"step": 3}, 140_234_567_890_272: {}}
    assert read(pickle.dumps(state, 2)) == state


def test_short_operations_without_end_are_refused():
    """Each takes a byte of the file, and many times that in memory."""
    with pytest.raises(DataError, match="over 1,500,000 pickle operations"):
        read(b"N" * MAX_BYTES)


def test_as_many_operations_as_are_allowed():
    content = pickle.dumps(["the", "cat"], 2)
    count = sum(1 for _ in pickletools.genops(content))
    assert read(content, most_operations=count) == ["the", "cat"]
    with pytest.raises(DataError, match="pickle operations"):
        read(content, most_operations=count - 1)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [list, dict])
def test_the_largest_vocabulary_has_fewer_operations(kind, protocol):
    """fastai 0.7's of WikiText-103 has 238,462 words."""
    words = [f"word{number}" for number in range(1000)]
    if kind is dict:
        words = {word: number for number, word in enumerate(words)}
    content = pickle.dumps(words, protocol)
    count = sum(1 for _ in pickletools.genops(content))
    assert 238.462 * count < MOST_OPERATIONS


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_every_cut_is_noticed(cut):
    content = pickle.dumps({"words": ["the", "cat"], "n": 12345678}, 2)
    with pytest.raises(DataError):
        read(content[:-cut])


def test_every_operation_is_known_or_refused():
    """None falls through: operands are missing, or it is not plain data."""
    for opcode in pickletools.opcodes:
        if opcode.name in ("PROTO", "STOP", "MARK", "FRAME", "POP"):
            continue
        with pytest.raises(DataError):
            read(opcode.code.encode("latin-1") + b"(" * 3)
