"""A user's own files and folders."""

import gzip
import lzma
import time

import pytest

from ulmfit_tf.data import DataError, load_dataset

CSV = (
    "label,id,text\r\n"
    'pos,1,"good, ""really"""\r\n'
    'neg,2,"two\nlines"\r\n'
    "\r\n"
    "pos,3,fine\r\n"
)
TSV = 'label\tid\ttext\npos\t1\tgood, "really"\nneg\t2\t"a ""b"" c"\n'
JSONL = (
    '{"label": "pos", "text": "good, \\"really\\"", "id": 1}\n\n'
    '{"label": "neg", "text": "two\\nlines"}\n'
    '{"label": "pos", "text": "fine"}\n'
)
CSV_TEXTS = ['good, "really"', "two\nlines", "fine"]


def load(path, **arguments):
    return load_dataset(path, test_fraction=0, **arguments)


@pytest.mark.parametrize(
    "name, content",
    [
        ("reviews.csv", CSV.encode()),
        ("bom.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("reviews.csv.gz", gzip.compress(CSV.encode())),
        ("reviews.csv.xz", lzma.compress(CSV.encode())),
        ("reviews.jsonl", JSONL.encode()),
        ("reviews.JSONL.GZ", gzip.compress(JSONL.encode())),
    ],
)
def test_tables(write, name, content):
    dataset = load(write(name, content))
    assert dataset.train_texts == CSV_TEXTS
    assert dataset.classes == ("neg", "pos")
    assert dataset.train_labels.tolist() == [1, 0, 1]
    assert dataset.test_texts is None


def test_tsv_takes_quotes_as_text_unless_a_field_is_quoted_whole(write):
    dataset = load(write("reviews.tsv", TSV))
    assert dataset.train_texts == ['good, "really"', 'a "b" c']


def test_columns_and_number_labels(write):
    path = write("r.jsonl", '{"stars": 5, "t": "a"}\n{"stars": 1, "t": "b"}\n')
    dataset = load(path, text_column="t", label_column="stars")
    assert dataset.classes == ("1", "5")


def test_numbers_as_labels_in_json_lines(write):
    labels = [10, 9.0, 9, 10.0, 2.5, -1]
    lines = [f'{{"text": "a", "label": {label}}}\n' for label in labels]
    dataset = load(write("r.jsonl", "".join(lines)))
    assert dataset.classes == ("-1", "2.5", "9", "10")
    assert dataset.train_labels.tolist() == [3, 2, 2, 3, 1, 0]


def test_a_spreadsheet_with_semicolons(write):
    path = write("r.csv", 'text; label\r\n"a; b";very good\r\nc, d;bad\r\n')
    dataset = load(path)
    assert dataset.train_texts == ["a; b", "c, d"]
    assert dataset.classes == ("bad", "very good")


def test_long_documents(write):
    path = write("long.csv", f"text,label\n{'word ' * 60_000},x\nb,y\n")
    assert len(load(path).train_texts[0]) == 300_000


def test_held_out_test_split_is_logged(write, caplog):
    rows = "".join(f"text {i},{'xy'[i % 2]}\n" for i in range(40))
    dataset = load_dataset(write("r.csv", "text,label\n" + rows))
    assert len(dataset.train_texts) == 36
    assert len(dataset.test_texts) == 4
    assert "`r.csv` has no test split: 4 of its 40" in caplog.text


def test_folder_of_tables(write, tmp_path):
    write("set/train.csv", CSV)
    write("set/test.tsv.gz", gzip.compress(TSV.encode()))
    write("set/unlabelled.jsonl", '{"text": "who knows"}\n{"text": " "}\n')
    dataset = load_dataset(tmp_path / "set")
    assert dataset.train_texts == CSV_TEXTS
    assert dataset.test_labels.tolist() == [1, 0]
    assert dataset.unlabelled_texts == ["who knows"]
    # `good, "really"` is in both.
    (note,) = dataset.notes
    assert note.startswith("1 of the 2 test texts")


def test_folder_with_two_training_tables(write, tmp_path):
    write("set/train.csv", CSV)
    write("set/train.tsv", TSV)
    with pytest.raises(DataError, match="more than one `train` file"):
        load(tmp_path / "set")


def test_one_subfolder_per_class(write, tmp_path):
    write("set/pos/2.txt", "good")
    write("set/pos/1.txt", "better")
    write("set/neg/1.txt", "bad")
    write("set/unsup/1.txt", "who knows")
    write("set/.git/1.txt", "no text")
    write("set/README", "no text")
    dataset = load(tmp_path / "set")
    assert dataset.classes == ("neg", "pos")
    assert dataset.train_texts == ["bad", "better", "good"]
    assert dataset.train_labels.tolist() == [0, 1, 1]
    assert dataset.unlabelled_texts == ["who knows"]


def test_class_folders_in_train_and_test(write, tmp_path):
    for name in ("train/a", "train/b", "train/unsup", "test/b", "test/a"):
        write(f"set/{name}/1.txt", name)
    dataset = load(tmp_path / "set")
    assert dataset.train_texts == ["train/a", "train/b"]
    assert dataset.test_texts == ["test/a", "test/b"]
    assert dataset.unlabelled_texts == ["train/unsup"]


def test_few_undecodable_bytes_are_replaced_and_told(write, caplog):
    rows = b"caf\xe9 \xff,x\ncaf\xc3\xa9,y\n" + b"tea,x\nmilk,y\n" * 60
    dataset = load(write("r.csv", b"text,label\n" + rows))
    assert dataset.train_texts[:2] == ["caf\ufffd \ufffd", "café"]
    assert "2 bytes are not valid UTF-8" in caplog.text
    # In the report as well.
    assert "1 of the 122 texts" in dataset.notes[0]


def test_one_broken_text_of_a_small_set_is_told(write):
    rows = b"caf\xe9,x\nmilk,y\n" + b"tea,x\nwater,y\n" * 44
    (note,) = load(write("r.csv", b"text,label\n" + rows)).notes
    assert "1 of the 90 texts" in note


@pytest.mark.parametrize(
    "content, message",
    [
        (b"text,label\n" + b"caf\xe9,x\ntea,y\n" * 3, "3 of the 6 texts"),
        (b"text,label\nf\xfcr,x\nblau,y\n", "1 of the 2 texts.*CP1252"),
        # Two classes would become one.
        (b"text,label\na,B\xe4r\nb,B\xfcr\nc,x\n", "The labels .*CP1252"),
        (b"Ger\xe4t,label\na,x\nb,y\n", "no column `text`.*CP1252"),
    ],
    ids=["many", "texts", "labels", "columns"],
)
def test_a_file_in_another_encoding_is_refused(write, content, message):
    with pytest.raises(DataError, match=message):
        load(write("excel.csv", content))


def test_class_folders_in_another_encoding_are_refused(write, tmp_path, caplog):
    write("set/a/1.txt", b"caf\xe9")
    write("set/b/1.txt", b"\xef\xbb\xbftea")
    with pytest.raises(DataError, match="1 of the 2 texts"):
        load(tmp_path / "set")
    assert "1 bytes are not valid UTF-8" in caplog.text


@pytest.mark.parametrize(
    "labels, classes",
    [
        (["1", "1.0", "2", "2.00"], ("1", "2")),
        # All alike: they stay as they are.
        (["1.0", "2.0", "1.0"], ("1.0", "2.0")),
        (["1", "1.0", "1.1", "2.0"], ("1", "1.1", "2.0")),
        (["a", "1", "1.0"], ("1", "a")),
    ],
)
def test_whole_numbers_are_one_class_however_written(write, labels, classes):
    rows = "".join(f"text {i},{label}\n" for i, label in enumerate(labels))
    dataset = load(write("n.csv", "text,label\n" + rows))
    assert set(dataset.classes) == set(classes)
    told = [note for note in dataset.notes if "same number" in note]
    assert len(told) == (len(classes) < len(set(labels)))
    assert not told or "'1' and '1.0'" in told[0]


def test_numbers_of_label_lists_are_one_class_however_written(write):
    rows = "a,1|2\nb,1.0|3.5\nc,2.0|2\n"
    path = write("n.csv", "text,label\n" + rows)
    dataset = load(path, multi_label=True)
    assert dataset.classes == ("1", "2", "3.5")
    expected = [[1, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert dataset.train_labels.astype(int).tolist() == expected
    assert "'1' and '1.0'; '2' and '2.0'" in dataset.notes[0]


def test_a_number_that_is_none_is_no_list_of_labels(write):
    rows = '{"text": "a", "label": ["x", "y"]}\n{"text": "b", "label": NaN}\n'
    with pytest.raises(DataError, match="1 rows.*lines 2"):
        load(write("n.jsonl", rows), multi_label=True)


def test_a_class_that_may_mean_no_label_is_told(write):
    rows = "a,spam\nb,nan\nc,none\n"
    (note,) = load(write("n.csv", "text,label\n" + rows)).notes
    assert note.startswith("['nan'] is taken for the name of a class.")


def test_blanks_after_commas(write):
    rows = 'text, label\n"hello, you", "a"\nbye, "b"\n'
    dataset = load(write("n.csv", rows))
    assert dataset.train_texts == ["hello, you", "bye"]
    assert dataset.classes == ("a", "b")
    # Only where the first line has them: this is a text that begins so.
    dataset = load(write("m.csv", 'label,text\na, "x" y\nb,z\n'))
    assert dataset.train_texts == [' "x" y', "z"]


def test_classes_that_look_alike_are_told(write):
    rows = "a,spam\nb,Spam\nc,not  ok\nd,not ok\ne,else\n"
    (note,) = load(write("n.csv", "text,label\n" + rows)).notes
    assert "'Spam' and 'spam'" in note
    assert "'not  ok' and 'not ok'" in note and "else" not in note
    rows = "a,caf\u00e9\nb,cafe\u0301\n"
    (note,) = load(write("n.csv", "text,label\n" + rows)).notes
    assert note.startswith("Classes of `n.csv` look alike")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("e.csv", "", "`.*e.csv` is empty"),
        ("e.csv", "text,label\n", "is empty"),
        ("e.jsonl", "\n", "is empty"),
        ("m.csv", "review,label\na,b\n", r"no column `text`.*'review', 'la"),
        ("m.jsonl", '{"text": "a"}\n', "no column `label`"),
        ("o.csv", "text,label\na,x\nb,x\n", "All labels"),
        (
            "i.csv",
            "text,label\na,x\n,y\nb,\nc,y\n\n ,y\n",
            "3 rows of .* no text or no label: lines 3, 4, 7",
        ),
        (
            "i.jsonl",
            '{"text": "a", "label": "x"}\n{"text": null, "label": "y"}\n',
            "1 rows.*lines 2",
        ),
        ("n.csv", "text,label\n1.5,x\n-2,y\n", "only numbers, such as 1.5"),
        ("n.jsonl", '{"text": 3, "label": "x"}', "must hold strings.*`int`"),
        ("l.jsonl", '{"text": "a", "label": ["x"]}', "several labels"),
        ("j.jsonl", '{"text": "a", "label": "x"}\n{"text', "Line 2.*not val"),
        ("j.jsonl", f'{{"text": "a", "label": {"1" * 5000}}}', "Line 1.*valid"),
        ("j.jsonl", "[" * 100_000, "Line 1.*not valid JSON"),
        ("j.jsonl", "[1]\n", "Line 1.*not a JSON object.*list"),
        ("r.csv", "text,label\na,x\nb, c,y\n", "Line 3.*3 fields"),
        ("r.tsv", "text\tlabel\na\n", "Line 2.*1 fields.*Expected: 2"),
        ("q.csv", 'text,label\n"a,x\nb,y\n', "Line 2.*not valid CSV"),
        ("u.csv", "text,label\na,x\n".encode("utf-16"), "encoded as UTF-16"),
        ("g.csv.gz", gzip.compress(CSV.encode() * 99)[:-20], "damaged or cut"),
        ("x.csv.xz", lzma.compress(CSV.encode() * 99)[:-20], "damaged or cut"),
        ("x.csv.gz", b"no gzip", "damaged or cut"),
        ("d.csv", "text,label,text\na,x,b\n", r"more than one column .'text'"),
        ("m.csv", "text,label\ra,x\rb,y\r", "carriage return alone"),
        ("n.jsonl", '{"text": "a", "label": NaN}\n', "1 rows.*lines 1"),
        ("a.xlsx", "", r"no format.*\.csv, \.tsv, \.jsonl"),
    ],
)
def test_unusable_files(write, name, content, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        load(write(name, content))


@pytest.mark.parametrize(
    "files, message",
    [
        ({"set/notes.md": "x"}, r"holds no data set.*notes\.md"),
        ({"set/a/1.txt": "x", "set/b/1.md": "y"}, "`.*b` holds no .txt file"),
        ({"set/a/1.txt": "x", "set/b/9.txt": " "}, r"1 files.*\['9.txt'\]"),
        ({"set/a/1.txt": "x"}, r"All labels.*\['a'\]"),
        (
            {
                "set/train/a/1.txt": "x",
                "set/train/b/1.txt": "y",
                "set/test/1.txt": "z",
            },
            "`.*test` holds no subfolders.*`unlabelled`",
        ),
        (
            {
                "set/train.csv": "text,label\na,x\nb,y\n",
                "set/test.csv": "text\nc\n",
            },
            "test.csv` has no column `label`.*rename the file to `unlabelled`",
        ),
    ],
)
def test_unusable_folders(write, tmp_path, files, message):
    for name, content in files.items():
        write(name, content)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "set")


@pytest.mark.parametrize(
    "name, message",
    [
        ("trec7", "no data set `trec7`. Did you mean `trec6`"),
        ("IMDB", "Did you mean `imdb`"),
        ("agnews", "Did you mean `ag_news`"),
        ("zzz", "no data set `zzz`. Expected: one of trec6.*tfds:NAME"),
    ],
)
def test_unknown_names_fail_fast(name, message):
    start = time.perf_counter()
    with pytest.raises(DataError, match=message):
        load_dataset(name)
    assert time.perf_counter() - start < 1


def test_missing_file_names_its_neighbours(write, tmp_path):
    write("reviews.csv", CSV)
    with pytest.raises(DataError, match="no file.*Did you mean `reviews.csv`"):
        load_dataset(tmp_path / "review.csv")


def test_test_fraction_out_of_range():
    with pytest.raises(DataError, match="`test_fraction`.*Received: 1"):
        load_dataset("questions", test_fraction=1)


def test_a_carriage_return_inside_of_a_field_is_a_blank(write):
    # As Python's own writer leaves it, without quotes.
    path = write("t.csv", 'text,label\nab\rcd,x\r\n"e\rf",y\n')
    assert load(path).train_texts == ["ab cd", "e f"]
    # Nor has the last line to have an end.
    for end in ("", "\r"):
        path = write("t.csv", f"text,label\na b,x\nc\rd,y{end}")
        assert load(path).train_texts == ["a b", "c d"]


@pytest.mark.parametrize("name", ["unlabelled", "unlabeled", "unsup"])
def test_texts_without_a_label_are_no_class(write, tmp_path, name):
    for place in ("pos/1", "pos/2", "neg/1", "neg/2", f"{name}/1"):
        write(f"set/{place}.txt", place)
    dataset = load(tmp_path / "set")
    assert dataset.classes == ("neg", "pos")
    assert dataset.unlabelled_texts == [f"{name}/1"]


def test_hidden_files_of_archives_are_no_texts(write, tmp_path):
    for place in ("pos/1", "pos/._1", "neg/1", "neg/._1"):
        write(f"set/{place}.txt", place)
    assert load(tmp_path / "set").train_texts == ["neg/1", "pos/1"]


def test_a_class_that_begins_with_a_dot_is_told(write, tmp_path, caplog):
    for place in ("java/1", ".net/1", "python/1"):
        write(f"set/{place}.txt", place)
    (tmp_path / "set/.cache").mkdir()
    assert load(tmp_path / "set").classes == ("java", "python")
    assert "set: not read: .net." in caplog.text


def test_class_folders_that_cannot_be_read_are_refused(write, tmp_path):
    write("set/pos/1.txt", "great")
    write("set/neg/1.txt", "bad")
    (tmp_path / "set/neg/9.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"9\.txt. could not be read"):
        load(tmp_path / "set")


def test_class_folders_take_any_capitals_and_tell_the_rest(
    write, tmp_path, caplog
):
    for name in ("train/a/1.TXT", "train/b/1.txt", "train/b/2.md", "dev/a/1"):
        write(f"set/{name}", name)
    (tmp_path / "set/train/b/x.txt").mkdir()
    dataset = load(tmp_path / "set")
    assert dataset.train_texts == ["train/a/1.TXT", "train/b/1.txt"]
    assert "set: not read: dev." in caplog.text
    assert "b: not read: 2.md, x.txt." in caplog.text


def test_a_class_may_be_called_train(write, tmp_path):
    for name in ("bus", "plane", "train"):
        write(f"set/{name}/1.txt", name)
    assert load(tmp_path / "set").classes == ("bus", "plane", "train")


def test_utf16_in_a_class_folder_is_refused(write, tmp_path):
    write("set/pos/1.txt", "great".encode("utf-16"))
    write("set/neg/1.txt", "bad")
    with pytest.raises(DataError, match=r"1\.txt. is encoded as UTF-16"):
        load(tmp_path / "set")


@pytest.mark.parametrize("name", ["test", "unlabelled", "unsup"])
def test_folders_of_texts_beside_a_table_are_refused(write, tmp_path, name):
    write("set/train.csv", "text,label\na,x\nb,y\n")
    write(f"set/{name}/1.txt", "c")
    table = "test" if name == "test" else "unlabelled"
    message = f"{name}. is a folder beside the table `train.csv`.*`{table}.csv`"
    with pytest.raises(DataError, match=message):
        load(tmp_path / "set")
    # With that table there is no doubt.
    write(f"set/{table}.csv", "text,label\nd,x\n")
    load(tmp_path / "set")


def test_what_a_folder_of_tables_holds_beside_is_told(write, tmp_path, caplog):
    table = "text,label\na,x\nb,y\n"
    write("set/train.csv", table)
    write("set/validation.csv", table)
    write("set/unlabeled.csv", "text\nc\n")
    write("set/notes.txt", "d")
    write("set/picture.png", "e")
    dataset = load(tmp_path / "set")
    assert dataset.unlabelled_texts == ["c"]
    assert "not read: notes.txt, validation.csv." in caplog.text


def test_training_texts_in_the_test_table_are_noted(write, tmp_path):
    write("set/train.csv", "text,label\na,x\nb,y\n")
    write("set/test.csv", "text,label\na ,x\nc,y\n")
    (note,) = load(tmp_path / "set").notes
    assert note.startswith("1 of the 2 test texts of `set` are training texts")


def test_unlabelled_texts_that_are_held_out_are_left_out(write, tmp_path):
    texts = [f"text {i}" for i in range(100)]
    rows = "".join(f"{text},{'xy'[i % 2]}\n" for i, text in enumerate(texts))
    write("set/train.csv", "text,label\n" + rows)
    write("set/unlabelled.csv", "text\n" + "\n".join([*texts, "new"]))
    dataset = load_dataset(tmp_path / "set")
    assert len(dataset.test_texts) == 10
    assert not set(dataset.unlabelled_texts) & set(dataset.test_texts)
    assert len(dataset.unlabelled_texts) == 91
    assert "10 unlabelled texts of `set` are left out" in dataset.notes[-1]


def test_test_texts_among_the_unlabelled_are_noted(write, tmp_path):
    write("set/train.csv", "text,label\na,x\nb,y\n")
    write("set/test.csv", "text,label\nc,x\nd,y\n")
    write("set/unlabelled.csv", "text\nc\ne\n")
    dataset = load(tmp_path / "set")
    assert dataset.notes[0].startswith("1 of the 2 test texts of `set` are am")
    assert dataset.unlabelled_texts == ["c", "e"]


def test_many_unknown_classes_are_told_in_short(write, tmp_path):
    rows = "".join(f"a {i},{i}\n" for i in range(2000))
    write("set/train.csv", "text,label\n" + rows)
    write("set/test.csv", "text,label\n" + rows.replace(",", ",t"))
    with pytest.raises(DataError, match=r"\(2000 in all\)") as error:
        load(tmp_path / "set")
    assert len(str(error.value)) < 1000


def test_a_class_name_that_is_no_unicode_is_refused(write):
    path = write(
        "t.jsonl",
        '{"text":"a","label":"\\ud83d"}\n' * 2 + ('{"text":"b","label":"y"}\n'),
    )
    with pytest.raises(DataError, match="not valid Unicode"):
        load(path)
