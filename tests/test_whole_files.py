"""Files that several processes may write at once."""

import functools
import os
import threading

import pytest

from trainers import command_line
from trainers.experiments import cells, oracles, plots, tables
from ulmfit_tf import text, whole_files
from ulmfit_tf.whole_files import written_whole

VOCABULARY = text.Vocabulary(text.SPECIAL_TOKENS)
TOKENIZER = text.WordTokenizer(VOCABULARY)


def _table(path):
    tables.write_table(path.with_suffix(""), "t", {"a": "a"}, [{"a": 1}])


def _plot(path):
    plots.learning_curve(path, "t", {"m": [(50, [1.0])]})


def _tokenizer(path):
    text.save_tokenizer(TOKENIZER, path.parent)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(
            functools.partial(command_line.write_json, content={"a": 1}),
            id="json",
        ),
        pytest.param(_table, id="table"),
        pytest.param(_plot, id="plot"),
        pytest.param(
            functools.partial(oracles._write, content={"a": 1}), id="oracle"
        ),
        pytest.param(
            functools.partial(
                cells._write, write=lambda file: file.write(b"a")
            ),
            id="cell",
        ),
        pytest.param(
            functools.partial(whole_files.write_arrays, arrays={"a": [1]}),
            id="arrays",
        ),
        pytest.param(VOCABULARY.save, id="vocabulary"),
        pytest.param(_tokenizer, id="tokenizer"),
    ],
)
def test_two_writers_of_a_file_do_not_disturb_each_other(
    write, tmp_path, monkeypatch
):
    """The second writes all of it while the first is about to rename."""
    path = tmp_path / "file.md"
    replace, nested, synced = os.replace, [], []

    def overtaken(*args):
        # Or a loss of power leaves an empty file under a good name.
        assert synced
        if not nested:
            nested.append(True)
            write(path)
        replace(*args)

    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(os, "replace", overtaken)
    write(path)
    files = list(tmp_path.iterdir())
    assert nested and files and all(file.read_bytes() for file in files)
    assert not [file for file in files if file.suffix in (".partial", ".tmp")]


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "folder" / "file"
    with written_whole(path) as beside:
        beside.write_text("old")
    with pytest.raises(KeyError), written_whole(path) as beside:
        beside.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_many_threads_write_one_file(tmp_path):
    path = tmp_path / "file.json"
    failures = []

    def write(number):
        try:
            for _ in range(50):
                command_line.write_json(path, number)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert command_line.read_json(path) in range(4)


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    """Or a loss of power leaves an empty file under a good name."""
    events = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        events.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def replaced(source, target):
        events.append("renamed")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with written_whole(tmp_path / "a") as beside:
        beside.write_text("content")
    first, second, third = events
    assert first == str(beside)
    assert second == "renamed" and third == str(tmp_path)
