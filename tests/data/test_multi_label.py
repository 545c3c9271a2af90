"""Texts with any number of labels: files, classes, splits."""

import numpy as np
import pytest

from ulmfit_tf.data import DataError, TaskType, TextDataset, load_dataset
from ulmfit_tf.data.label_subsets import stratified_subset
from ulmfit_tf.data.splits import hold_out_test

JOINED = "text,tags\na film,fun|old\na song,\na book,old| new \n"
LISTS = (
    '{"text": "a film", "tags": ["fun", "old"]}\n'
    '{"text": "a song", "tags": []}\n'
    '{"text": "a book", "tags": ["old", "new", "old"]}\n'
)
CELLS = (
    'text\ttags\na film\t["fun", "old"]\na song\t[]\na book\t ["old","new"]\n'
)
FLAGS = "text,new,fun,old\na film,0,1,TRUE\na song,0,0,0.0\na book,1,0,1\n"


def load(path, **arguments):
    arguments = {"label_column": "tags", "multi_label": True, **arguments}
    return load_dataset(path, test_fraction=0, **arguments)


@pytest.mark.parametrize(
    "name, content, arguments",
    [
        ("t.csv", JOINED, {}),
        ("t.tsv", JOINED.replace(",", "\t"), {}),
        ("t.csv", JOINED.replace("|", ";"), {"label_separator": ";"}),
        ("t.jsonl", LISTS, {}),
        ("t.tsv", CELLS, {}),
        ("t.csv", FLAGS, {"label_column": "fun,new,old"}),
        ("t.csv", FLAGS, {"label_column": ["fun", "new", "old"]}),
    ],
)
def test_labels_come_joined_as_lists_and_as_flags(
    write, name, content, arguments
):
    dataset = load(write(name, content), **arguments)
    assert dataset.task_type is TaskType.MULTI_LABEL
    assert dataset.classes == ("fun", "new", "old")
    assert dataset.train_texts == ["a film", "a song", "a book"]
    assert dataset.train_labels.astype(int).tolist() == [
        [1, 0, 1],
        [0, 0, 0],
        [0, 1, 1],
    ]
    (note,) = dataset.notes
    assert "1 of the 3 training texts" in note
    assert "count as examples of none" in note


@pytest.mark.parametrize("flags", ["[0, 1, 0]", "[true, false, true]"])
def test_flags_in_a_list_name_no_labels(write, flags):
    path = write("t.jsonl", f'{{"text": "a film", "tags": {flags}}}\n')
    with pytest.raises(DataError, match="line 1 .* are flags.*one column"):
        load(path)


@pytest.mark.parametrize(
    "name, content, arguments",
    [
        # Whether the first of two classes is meant, or the second.
        (
            "t.jsonl",
            '{"text": "a", "tags": [1, 0]}\n{"text": "b", "tags": [0, 1]}\n',
            {},
        ),
        ("t.csv", "text,0,1\na,1,1\nb,1,1\n", {"label_column": "0,1"}),
    ],
)
def test_labels_that_every_text_has_tell_nothing_apart(
    write, name, content, arguments
):
    with pytest.raises(
        DataError,
        match=r"Every training text of `t\..*` has all labels: \['0', '1'\]"
        ".*one column of 0 and 1 for each.*`--label-column`",
    ):
        load(write(name, content), **arguments)


def test_a_label_that_every_training_text_has_is_noted(write, tmp_path):
    write("set/train.csv", "text,tags\na,x|y\nb,y\nc,x|y|z\n")
    write("set/test.csv", "text,tags\nd,x\n")
    dataset = load(tmp_path / "set")
    assert dataset.classes == ("x", "y", "z")
    (note,) = dataset.notes
    assert note.startswith("Every training text of `set` has the labels ['y']")


def test_numbers_may_be_labels(write):
    lines = ('{"text": "a", "tags": [0, 1]}', '{"text": "b", "tags": [2]}')
    path = write("t.jsonl", "\n".join(lines))
    assert load(path).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "cell", ["['fun', 'old']", f"[{'1' * 5000}]", "[" * 100_000 + "]"]
)
def test_a_list_in_a_cell_must_be_json(write, cell):
    path = write("t.tsv", f"text\ttags\na film\t{cell}\n")
    with pytest.raises(DataError, match="line 2 .* are none in JSON"):
        load(path)


def test_a_folder_of_tables_has_the_training_tables_classes(write, tmp_path):
    write("set/train.csv", JOINED)
    write("set/test.csv", "text,tags\na poem,old\n")
    dataset = load(tmp_path / "set")
    assert dataset.test_labels.tolist() == [[False, False, True]]


def test_a_wrong_separator_is_noted(write, caplog):
    load(write("t.csv", JOINED), label_separator=";")
    assert "more than one label" in caplog.text


@pytest.mark.parametrize(
    "name, content, arguments, message",
    [
        ("t.csv", FLAGS, {"label_column": "fun,text"}, "0 or 1.*'a film'"),
        ("t.csv", FLAGS, {"label_column": "fun,fun"}, "a column twice"),
        ("t.csv", FLAGS, {"label_column": "fun,nix"}, "no column `nix`"),
        (
            "t.csv",
            FLAGS.replace("a book,1", "a book,"),
            {"label_column": "fun,new"},
            "1 rows.*lines 4.*`fun, new`",
        ),
        (
            "t.csv",
            FLAGS.replace("a book,1", "a book,0"),
            {"label_column": "fun,new,old"},
            r"No training text.*\['new'\]",
        ),
        (
            "t.jsonl",
            '{"text": "a", "tags": ["x|y", "z"]}\n',
            {},
            r"contain the label separator '\|': \['x\|y'\]",
        ),
        ("t.jsonl", '{"text": "a", "tags": null}\n', {}, "1 rows"),
        ("t.jsonl", '{"text": "a", "tags": [["x"]]}\n', {}, r"is a list: \["),
        ("t.csv", "text,tags\na,x\nb,x\n", {}, "two different classes"),
        ("t.csv", JOINED, {"label_separator": ""}, "must not be empty"),
        (
            "t.csv",
            FLAGS,
            {"label_column": ["fun", "new"], "multi_label": False},
            "one label column.*`--multi-label`",
        ),
        ("t.jsonl", LISTS, {"multi_label": False}, "pass `--multi-label`"),
    ],
)
def test_unusable_labels(write, name, content, arguments, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        load(write(name, content), **arguments)


def test_a_test_split_with_another_label(write, tmp_path):
    write("set/train.csv", JOINED)
    write("set/test.csv", "text,tags\na poem,old|rare\n")
    with pytest.raises(DataError, match=r"the labels \['rare'\]"):
        load(tmp_path / "set")


def test_data_with_one_label_a_text_is_refused(write, tmp_path):
    with pytest.raises(DataError, match="`questions` have one label each"):
        load_dataset("questions", multi_label=True)
    write("set/a/1.txt", "x")
    write("set/b/1.txt", "y")
    with pytest.raises(DataError, match="no `train` table"):
        load(tmp_path / "set")


def test_task_types_of_one_label(write):
    two = load_dataset(
        write("t.csv", "text,label\na,x\nb,y\n"), test_fraction=0
    )
    assert two.task_type is TaskType.BINARY
    assert load_dataset("questions").task_type is TaskType.MULTI_CLASS


def make(num_texts=400, seed=0):
    """Labels from very common to very rare, and texts without any."""
    rng = np.random.default_rng(seed)
    shares = [0.6, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01]
    labels = rng.random((num_texts, len(shares))) < shares
    labels[:2] = True
    return TextDataset(
        "tags",
        tuple("abcdefg"),
        [
            f"{n} " + "".join(np.array([*"abcdefg"])[row])
            for n, row in enumerate(labels)
        ],
        labels,
        unlabelled_texts=["u"],
    )


def _check_labels_belong_to_texts(texts, labels):
    for text, row in zip(texts, labels, strict=True):
        assert text.split(" ")[1] == "".join(np.array([*"abcdefg"])[row])


@pytest.mark.parametrize("seed", range(4))
def test_a_validation_split_keeps_the_shares_of_all_labels(seed):
    dataset = make(seed=seed)
    train, texts, labels = dataset.split_validation(0.1, seed)
    assert len(texts) == len(labels) == 40
    assert sorted(train.train_texts + texts) == sorted(dataset.train_texts)
    _check_labels_belong_to_texts(texts, labels)
    _check_labels_belong_to_texts(train.train_texts, train.train_labels)
    wanted = dataset.train_labels.sum(axis=0) / 10
    # Random splits are off by three standard deviations now and then, up to
    # nine texts here.
    assert np.abs(labels.sum(axis=0) - wanted).max() <= 1.5
    again = dataset.split_validation(0.1, seed)
    assert again[1] == texts
    assert dataset.split_validation(0.1, seed + 9)[1] != texts


def test_a_class_of_one_text_is_trained_on():
    labels = np.zeros((20, 3), bool)
    labels[::2, 0] = labels[:10, 1] = labels[7, 2] = True
    for seed in range(20):
        assert 7 in stratified_subset(labels, 18, at_least=1, seed=seed)


def test_a_held_out_test_split_is_noted():
    dataset = hold_out_test(make(), 0.1, seed=0)
    assert dataset.test_labels.shape == (40, 7)
    assert "40 of its 400" in dataset.notes[0]


# A text counts for each of its labels, so that fewer than 14 do as well.
@pytest.mark.parametrize("num_labels", [13, 14, 15, 60, 399, 400])
def test_limited_labels_keep_every_label_and_every_text(num_labels):
    dataset = make()
    limited = dataset.limit_labels(num_labels, seed=3)
    assert len(limited.train_texts) == num_labels
    assert (limited.train_labels.sum(axis=0) >= 2).all()
    _check_labels_belong_to_texts(limited.train_texts, limited.train_labels)
    assert sorted(limited.train_texts + limited.unlabelled_texts[1:]) == sorted(
        dataset.train_texts
    )


@pytest.mark.parametrize("num_labels", [-1, 0, 3])
def test_a_limit_too_small_for_two_texts_of_each_label(num_labels):
    with pytest.raises(DataError, match="14 are enough"):
        make().limit_labels(num_labels, seed=0)


def test_a_limit_above_all_labels():
    with pytest.raises(DataError, match="400 training examples.* 401"):
        make().limit_labels(401, seed=0)


def test_all_labels_can_be_kept_where_texts_are_fewer_than_twice_labels():
    labels = (
        np.eye(10, dtype=bool).repeat(2, axis=0)[:15]
        | np.eye(10, dtype=bool)[np.arange(15) % 10]
    )
    texts = [f"text {i}" for i in range(15)]
    dataset = TextDataset("d", tuple("abcdefghij"), texts, labels)
    assert dataset.limit_labels(15, seed=0).train_texts == texts


def test_too_few_texts_to_hold_any_out():
    dataset = TextDataset("d", ("a", "b"), ["x"], np.array([[True, False]]))
    with pytest.raises(DataError, match="leaves none to train on"):
        dataset.split_validation(0.1, seed=0)


def test_flags_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"shape \(2, 2\).*shape \(2, 3\)"):
        TextDataset("d", ("a", "b"), ["x", "y"], np.ones((2, 3), bool))
