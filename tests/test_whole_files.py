"""Files that several processes may write at once."""

import functools
import os
import threading

import pytest

from trainers import command_line
from trainers.experiments import cells, oracles, plots, tables
from ulmfit_tf import whole_files
from ulmfit_tf.whole_files import written_whole


def _tables(path):
    tables.write_table(path.with_suffix(""), "t", {"a": "a"}, [{"a": 1}])


def _plot(path):
    plots.learning_curve(path, "t", {"m": [(50, [1.0])]})


@pytest.mark.parametrize(
    "module, write",
    [
        pytest.param(
            command_line,
            functools.partial(command_line.write_json, content={"a": 1}),
            id="json",
        ),
        pytest.param(tables, _tables, id="table"),
        pytest.param(plots, _plot, id="plot"),
        pytest.param(
            oracles,
            functools.partial(oracles._write, content={"a": 1}),
            id="oracle",
        ),
        pytest.param(
            cells,
            functools.partial(
                cells._write, write=lambda file: file.write(b"a")
            ),
            id="cell",
        ),
        pytest.param(
            whole_files,
            functools.partial(whole_files.write_arrays, arrays={"a": [1]}),
            id="arrays",
        ),
    ],
)
def test_two_writers_of_a_file_do_not_disturb_each_other(
    module, write, tmp_path, monkeypatch
):
    """The second writes all of it while the first is about to rename."""
    import os

    path = tmp_path / "file.md"
    replace, nested = os.replace, []

    def overtaken(*args):
        if not nested:
            nested.append(True)
            write(path)
        replace(*args)

    monkeypatch.setattr(os, "replace", overtaken)
    write(path)
    assert nested and path.read_bytes()
    assert not [each for each in tmp_path.iterdir() if "partial" in each.name]


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
