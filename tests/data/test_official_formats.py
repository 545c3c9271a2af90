"""Registered data sets, on small files in the official formats."""

import dataclasses
import gzip
import io
import tarfile

import numpy as np
import pytest

from ulmfit_tf.data import DATASETS, DataError, load_dataset

TREC_TRAIN = (
    b"DESC:manner How did serfdom develop ?\n"
    b"ENTY:cremat What is Caf\xe9 Society ?\n"
    b"DESC:def What is a fear ?\n"
)
TREC_TEST = b"DESC:def What is caffeine ?\n"
AG_TRAIN = (
    '"3","Bears ""Claw"" Back","Street\'s dwindling\\band by\\name"\n'
    '"1","War","$ #36;10"\n"2","Goal","x"\n"4","Chip","y"\n'
)
AG_TEST = '"2","Cup","final"\n'
YELP_TRAIN = '"1","Bad\\n\\""food\\"""\n"2","Good"\n"2","Great"\n'
YELP_TEST = '"2","Fine"\n'


@pytest.fixture
def registered(monkeypatch):
    """Makes a registered data set expect small files of unknown hash."""

    def expect(name, rows):
        entry = DATASETS[name]
        small = dataclasses.replace(
            entry,
            source=dataclasses.replace(entry.source, sha256={}),
            rows=rows,
        )
        monkeypatch.setitem(DATASETS, name, small)

    return expect


def tar_of(members, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("folder", ["trec6/", ""])
def test_trec(write, tmp_path, registered, folder):
    registered("trec6", rows=(3, 1, 0))
    registered("trec50", rows=(3, 1, 0))
    write(f"{folder}train_5500.label", TREC_TRAIN)
    write(f"{folder}TREC_10.label", TREC_TEST)
    coarse = load_dataset("trec6", data_dir=tmp_path)
    assert coarse.classes == ("DESC", "ENTY")
    assert coarse.train_texts[1] == "What is Café Society ?"
    assert coarse.train_labels.tolist() == [0, 1, 0]
    fine = load_dataset("trec50", data_dir=tmp_path)
    assert fine.classes == ("DESC:def", "DESC:manner", "ENTY:cremat")
    assert fine.test_labels.tolist() == [0]


def test_trec_line_without_label(write, tmp_path, registered):
    registered("trec6", rows=(3, 1, 0))
    write("train_5500.label", TREC_TRAIN + b"What is love ?\n")
    write("TREC_10.label", TREC_TEST)
    with pytest.raises(DataError, match="Line 4.*COARSE:fine question"):
        load_dataset("trec6", data_dir=tmp_path)


def test_real_trec(real_data):
    coarse = load_dataset("trec6", data_dir=real_data)
    assert coarse.classes == ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
    counts = np.bincount(coarse.train_labels)
    assert counts.tolist() == [86, 1162, 1250, 1223, 835, 896]
    assert len(coarse.test_texts) == 500
    assert len(load_dataset("trec50", data_dir=real_data).classes) == 50


def test_wrong_hash(write, tmp_path):
    write("trec6/train_5500.label", TREC_TRAIN)
    write("trec6/TREC_10.label", TREC_TEST)
    with pytest.raises(
        DataError,
        match="train_5500.label` is not the official.*9e4c8bdc.*Received: "
        "[0-9a-f]{64}. Delete it",
    ):
        load_dataset("trec6", data_dir=tmp_path)


@pytest.mark.parametrize("folder", ["ag_news", "ag_news_csv", ".", "archive"])
def test_ag_news(write, tmp_path, registered, folder):
    registered("ag_news", rows=(4, 1, 0))
    if folder == "archive":
        write(
            "ag_news/ag_news_csv.tgz",
            tar_of(
                {
                    "ag_news_csv/test.csv": AG_TEST.encode(),
                    "ag_news_csv/train.csv": AG_TRAIN.encode(),
                }
            ),
        )
    else:
        write(f"{folder}/train.csv", AG_TRAIN)
        write(f"{folder}/test.csv", AG_TEST)
    dataset = load_dataset("ag_news", data_dir=tmp_path)
    assert dataset.classes == ("World", "Sports", "Business", "Sci/Tech")
    assert dataset.train_labels.tolist() == [2, 0, 1, 3]
    assert dataset.train_texts[0] == (
        'xxfld 1 Bears "Claw" Back xxfld 2 Street\'s dwindling band by name'
    )
    assert dataset.test_texts == ["xxfld 1 Cup xxfld 2 final"]


def test_ag_news_subset_is_noted(write, tmp_path, registered, caplog):
    registered("ag_news", rows=(120_000, 7_600, 0))
    write("ag_news/train_subset.csv", AG_TRAIN)
    write("ag_news/test.csv", AG_TEST)
    load_dataset("ag_news", data_dir=tmp_path)
    assert "subset of the 120,000 official training rows (4 " in caplog.text


def test_row_count_of_a_file_cut_short(write, tmp_path, registered):
    registered("ag_news", rows=(120_000, 7_600, 0))
    write("ag_news/train.csv", AG_TRAIN)
    write("ag_news/test.csv", AG_TEST)
    with pytest.raises(
        DataError, match=r"\(120000, 7600, 0\). Received: \(4, 1, 0\)"
    ):
        load_dataset("ag_news", data_dir=tmp_path)


@pytest.mark.parametrize(
    "row", ['"5","title","text"', '"World","title","text"', '"1"']
)
def test_row_of_another_format(write, tmp_path, registered, row):
    registered("ag_news", rows=(4, 1, 0))
    write("ag_news/train.csv", f"{AG_TRAIN}{row}\n")
    write("ag_news/test.csv", AG_TEST)
    with pytest.raises(DataError, match="Line 5.*class from 1 to 4"):
        load_dataset("ag_news", data_dir=tmp_path)


def test_yelp_unescapes_line_breaks_and_quotes(write, tmp_path, registered):
    registered("yelp_polarity", rows=(3, 1, 0))
    write("yelp_polarity/train.csv", YELP_TRAIN)
    write("yelp_polarity/test.csv", YELP_TEST)
    dataset = load_dataset("yelp_polarity", data_dir=tmp_path)
    assert dataset.classes == ("negative", "positive")
    assert dataset.train_texts == ['Bad\n"food"', "Good", "Great"]


@pytest.mark.parametrize(
    "name, archive, classes",
    [
        ("dbpedia", "dbpedia_csv", 14),
        ("yelp_full", "yelp_review_full_csv", 5),
    ],
)
def test_other_archives(write, tmp_path, registered, name, archive, classes):
    registered(name, rows=(2, 1, 0))
    members = {
        f"{archive}/train.csv": f'"1","a"\n"{classes}","b"\n'.encode(),
        f"{archive}/test.csv": b'"2","c"\n',
    }
    write(f"{archive}.tgz", tar_of(members))
    dataset = load_dataset(name, data_dir=tmp_path)
    assert len(dataset.classes) == classes
    assert dataset.train_labels.tolist() == [0, classes - 1]


IMDB = {
    "aclImdb/train/urls_pos.txt": b"no review",
    "aclImdb/train/pos/1_9.txt": b"good",
    "aclImdb/train/pos/0_8.txt": b"caf\xc3\xa9",
    "aclImdb/train/neg/0_1.txt": b"bad",
    "aclImdb/train/unsup/0_0.txt": b"who knows",
    "aclImdb/test/neg/0_2.txt": b"worse",
    "aclImdb/test/pos/0_10.txt": b"best",
}


@pytest.mark.parametrize(
    "form", ["aclImdb_v1.tar.gz", "imdb/aclImdb.tar.xz", "folder"]
)
def test_imdb(write, tmp_path, registered, form):
    registered("imdb", rows=(3, 2, 1))
    if form == "folder":
        for name, content in IMDB.items():
            write(name, content)
    else:
        write(form, tar_of(IMDB, "w:xz" if form.endswith("xz") else "w:gz"))
    dataset = load_dataset("imdb", data_dir=tmp_path)
    assert dataset.name == "imdb"
    assert dataset.classes == ("neg", "pos")
    assert dataset.train_texts == ["bad", "café", "good"]
    assert dataset.train_labels.tolist() == [0, 1, 1]
    assert dataset.test_texts == ["worse", "best"]
    assert dataset.unlabelled_texts == ["who knows"]


@pytest.mark.parametrize(
    "content, message",
    [
        (tar_of(IMDB)[:-60], "damaged or cut short.*complete `.gz`"),
        (gzip.compress(tar_of(IMDB, "w")[:5000]), "complete tar archive"),
        (gzip.compress(b"no tar archive" * 99), "complete tar archive"),
        (b"<html>404</html>", "damaged or cut short"),
        (tar_of({"README": b"x"}), "holds no reviews"),
        (tar_of({"a/../../train/pos/1.txt": b"x"}), r"leads out.*\.\./\.\."),
        (tar_of({"/train/pos/1.txt": b"x"}), "leads out.*'/train/pos"),
    ],
)
def test_unusable_archives(write, tmp_path, content, message):
    write("imdb/aclImdb_v1.tar.gz", content)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=message):
        load_dataset("imdb", data_dir=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_archive_without_the_test_file(write, tmp_path):
    write("ag_news_csv.tgz", tar_of({"a/train.csv": AG_TRAIN.encode()}))
    with pytest.raises(DataError, match="lacks test.csv"):
        load_dataset("ag_news", data_dir=tmp_path)


def test_embedded_questions():
    dataset = load_dataset("questions")
    assert dataset.classes == ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
    assert set(dataset.test_labels.tolist()) == set(range(6))
