"""Corpora for pretraining."""

import gzip
import io
import lzma
import os
import shutil
import tarfile

import pytest

from ulmfit_tf.data import (
    DataError,
    corpus_files,
    fingerprint,
    iter_documents,
    plain_text,
)

WIKITEXT = (
    " \n = Lobster = \n \n Text one . \n \n = = Habitat = = \n \n Sea . \n"
    " of a filter with \n = 1 rad / s and \n more . \n"
    " \n = Ra ( film ) = \n \n Text two . \n \n"
)
LOBSTER = WIKITEXT[2 : WIKITEXT.index(" = Ra")]
FILM = WIKITEXT[WIKITEXT.index(" = Ra") :]


@pytest.mark.parametrize(
    "name, content, documents",
    [
        ("a.txt", "one\r\ntwo\n", ["one", "two"]),
        ("a.txt", "\none\ntwo\n\n\n", ["one", "two"]),
        ("a.txt", "one\ntwo\n\n \nthree", ["one\ntwo", "three"]),
        ("a.txt.gz", gzip.compress(b"one\ntwo\n"), ["one", "two"]),
        ("a.csv", 'id,text\n1,"o\nne"\n2, \n3,two\n', ["o\nne", "two"]),
        ("a.tsv", "text\nthe one\n", ["the one"]),
        ("a.jsonl.xz", lzma.compress(b'{"text": "one"}\n'), ["one"]),
        ("a.tokens", WIKITEXT, [LOBSTER, FILM]),
    ],
)
def test_formats(write, name, content, documents):
    assert list(iter_documents(write(name, content))) == documents


def test_a_stray_blank_line_joins_no_lines(write):
    lines = [f"document {number}" for number in range(1000)]
    for position in (1, 500, 999):
        content = [*lines[:position], "", *lines[position:]]
        path = write("a.txt", "\n".join(content))
        assert list(iter_documents(path)) == lines


@pytest.mark.parametrize("height", [1, 2, 8, 20])
def test_blank_lines_separate_blocks_where_there_are_many(write, height):
    blocks = ["\n".join(f"{b} {i}" for i in range(height)) for b in range(300)]
    # Beyond what is looked at, other distances change nothing.
    blocks.append("\n".join(map(str, range(500))))
    path = write("a.txt", "\n\n\n".join(blocks))
    assert list(iter_documents(path)) == blocks


def test_no_document_takes_more_than_a_bound(write, monkeypatch):
    monkeypatch.setattr(plain_text, "_LONGEST_DOCUMENT", 20)
    # A cut in the middle of a character of several bytes would damage it.
    line = "äöü字" * 12
    (*parts,) = iter_documents(write("a.txt", line))
    assert "".join(parts) == line and max(map(len, parts)) == 20
    block = "".join(f"line {number}\n" for number in range(9))
    (*parts, last) = iter_documents(write("b.txt", f"{block}\nlast"))
    assert "\n".join(parts) == block[:-1] and last == "last"
    assert max(map(len, parts)) <= 20


def test_a_file_s_plain_and_compressed_forms_are_read_once(write, tmp_path):
    write("c/a.jsonl", '{"text": "a"}')
    for name in "ab":
        content = f'{{"text": "{name}"}}'.encode()
        write(f"c/{name}.jsonl.xz", lzma.compress(content))
        write(f"c/{name}.jsonl.gz", gzip.compress(content))
    for corpus in (tmp_path / "c", tmp_path / "c" / "*.jsonl*"):
        assert list(iter_documents(corpus)) == ["a", "b"]
    assert corpus_files(tmp_path / "c")[0].name == "a.jsonl"


def test_folder_and_glob_are_read_in_order(write, tmp_path):
    for name in ("c/b.txt", "c/a.txt", "c/sub/c.jsonl", "c/ignored.md"):
        jsonl = name.endswith("jsonl")
        write(name, '{"text": "c.jsonl"}' if jsonl else name.split("/")[-1])
    documents = list(iter_documents(tmp_path / "c"))
    assert documents == ["a.txt", "b.txt", "c.jsonl"]
    assert list(iter_documents(f"{tmp_path}/c/*.txt")) == ["a.txt", "b.txt"]


def test_linked_folders_are_read_and_each_file_once(write, tmp_path):
    write("c/a.txt", "a")
    write("elsewhere/b.txt", "b")
    (tmp_path / "c" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "c" / "loop").symlink_to(tmp_path / "c")
    for corpus in (tmp_path / "c", f"{tmp_path}/c/**/*.txt"):
        assert sorted(iter_documents(corpus)) == ["a", "b"]


def test_linked_files_are_read_once(write, tmp_path):
    write("c/a.txt", "a")
    (tmp_path / "c" / "latest.txt").symlink_to(tmp_path / "c" / "a.txt")
    for corpus in (tmp_path / "c", f"{tmp_path}/c/*.txt"):
        assert list(iter_documents(corpus)) == ["a"]


def test_a_folder_that_cannot_be_read_is_told(write, tmp_path, monkeypatch):
    write("c/a.txt", "a")
    denied = PermissionError(13, "Permission denied", str(tmp_path / "c/b"))

    def walk(folder, onerror, followlinks):
        onerror(denied)

    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(DataError, match="c/b. could not be read"):
        corpus_files(tmp_path / "c")


def test_hidden_files_are_nobody_s_texts(write, tmp_path):
    for name in ("c/a.txt", "c/._a.txt", "c/.ipynb_checkpoints/b.txt"):
        write(name, name)
    assert list(iter_documents(tmp_path / "c")) == ["c/a.txt"]
    # Named outright it is meant.
    assert list(iter_documents(tmp_path / "c" / "._a.txt")) == ["c/._a.txt"]
    hidden = write(".data/texts/a.txt", "a").parent
    assert list(iter_documents(hidden)) == ["a"]


def test_records_without_the_column_are_counted(write, caplog):
    records = '{"text": "a"}\n{"content": "b"}\n{"text": ""}\n'
    path = write("a.jsonl", records)
    assert list(iter_documents(path)) == ["a"]
    assert "1 of 3 records have no `text`" in caplog.text


def test_files_given_are_read_and_no_others(write, tmp_path):
    write("c/a.txt", "a")
    files = corpus_files(tmp_path / "c")
    write("c/b.txt", "b")
    assert list(iter_documents(tmp_path / "c", files=files)) == ["a"]


SPLITS = ("train", "valid", "test")


def test_wikitext_folder_leaves_its_held_out_files_alone(write, tmp_path):
    for split in SPLITS:
        write(f"w/wiki.{split}.tokens", f" = {split} = \n")
    assert list(iter_documents(tmp_path / "w")) == [" = train = \n"]


@pytest.mark.parametrize("packed", [("train",), ("valid", "test"), SPLITS])
def test_compressed_ones_too(write, tmp_path, packed):
    for split in SPLITS:
        content = f" = {split} = \n"
        if split in packed:
            write(f"w/wiki.{split}.tokens.gz", gzip.compress(content.encode()))
        else:
            write(f"w/wiki.{split}.tokens", content)
    assert list(iter_documents(tmp_path / "w")) == [" = train = \n"]


def archive_of(name, content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name, content",
    [
        ("wikitext-103/wiki.train.tokens", WIKITEXT.encode()),
        (
            "wikitext-103.tgz",
            archive_of("wikitext-103/wiki.train.tokens", WIKITEXT.encode()),
        ),
        (
            "wikitext-103/wikitext-103.tgz",
            archive_of("w/train.csv", f'"{LOBSTER}"\n"{FILM}"\n'.encode()),
        ),
    ],
)
def test_wikitext_103(write, tmp_path, name, content):
    write(name, content)
    documents = list(iter_documents("wikitext-103", data_dir=tmp_path))
    assert documents == [LOBSTER, FILM]


def test_wikipedia_starts_with_the_title(write, tmp_path):
    for shard in (1, 0):
        write(
            f"wikipedia-en-2015/wiki-0{shard}.jsonl.xz",
            lzma.compress(
                f'{{"id": 1, "title": "T{shard}", "text": "a\\nb"}}'.encode()
            ),
        )
    documents = list(iter_documents("wikipedia-en-2015", data_dir=tmp_path))
    assert documents == ["T0\na\nb", "T1\na\nb"]
    # One shard decompressed, and one that has a record without a title.
    write("wikipedia-en-2015/wiki-01.jsonl", '{"text": "a"}')
    write("wikipedia-en-2015/wiki-02.jsonl.xz.partial", b"cut short")
    documents = list(iter_documents("wikipedia-en-2015", data_dir=tmp_path))
    assert documents == ["T0\na\nb", "a"]


def test_real_wikitext_has_its_60_articles(real_data):
    for split in ("valid", "test"):
        path = f"{real_data}/wikitext-103/wiki.{split}.tokens"
        assert sum(1 for _ in iter_documents(path)) == 60


def test_documents_are_streamed(write):
    path = write("a.jsonl", '{"text": "one"}\n{"text": "two"}\nbroken')
    documents = iter_documents(path)
    assert [next(documents), next(documents)] == ["one", "two"]
    with pytest.raises(DataError, match="Line 3"):
        next(documents)


@pytest.mark.parametrize(
    "name, message",
    [
        ("wikitext103", "no corpus.*Did you mean `wikitext-103`"),
        ("nowhere/*.txt", "no corpus.*wikipedia-en-2015"),
        ("wikipedia-en-2015", "not found.*no address.*`DIR/wikipedia-en"),
        ("~nobody-of-this-name/texts", "corpus `~nobody.*no path"),
        ("x" * 300, "no path that can be looked up"),
    ],
)
def test_unknown_corpora_fail_before_iteration(name, message):
    with pytest.raises(DataError, match=message):
        iter_documents(name)


def test_unknown_format(write):
    with pytest.raises(DataError, match="no format that documents"):
        iter_documents(write("a.pdf", "x"))


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.txt", " \n\n", "hold no documents"),
        ("a.jsonl", '{"body": "x"}', "no column `text`.*body"),
        ("a.jsonl", '{"text": 3}', "must hold strings"),
    ],
)
def test_unusable_corpora(write, name, content, message):
    with pytest.raises(DataError, match=message):
        list(iter_documents(write(name, content)))


def test_fingerprint_follows_the_content_only(write, tmp_path):
    path = write("a.txt", b"x" * 3_000_000)
    (before,) = fingerprint(corpus_files(path))
    assert before["name"] == "a.txt"
    assert before["size"] == 3_000_000
    (tmp_path / "moved").mkdir()
    assert fingerprint([shutil.copy(path, tmp_path / "moved")]) == [before]
    for position in (0, 1_500_000, 2_999_999):
        content = bytearray(b"x" * 3_000_000)
        content[position] = ord("y")
        assert fingerprint([write("a.txt", bytes(content))]) != [before]
