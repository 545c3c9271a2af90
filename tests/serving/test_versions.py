"""Versions come and go on disk; models are stand-ins."""

import shutil
import threading
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_pb2

from serving.model_source import ModelSource
from serving.status import ServingError
from serving.versions import VersionManager


class _Model:
    def __init__(self, directory):
        if not directory.exists() or (directory / "broken").exists():
            raise OSError("no graph")
        self.directory = directory
        self.closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def base_path(tmp_path):
    (tmp_path / "1").mkdir()
    return tmp_path


def make_manager(base_path, **source):
    return VersionManager([ModelSource("m", base_path, **source)], _Model)


def spec(version=None, label=None):
    made = model_pb2.ModelSpec(name="m")
    if version is not None:
        made.version.value = version
    if label is not None:
        made.version_label = label
    return made


def used(manager, **choice):
    with manager.use(spec(**choice)) as (_, version):
        return version


def states(manager):
    return {
        status.version: status.State.Name(status.state)
        for status in manager.status(spec()).model_version_status
    }


def test_a_newer_version_takes_over(base_path):
    manager = make_manager(base_path)
    manager.poll()
    assert used(manager) == 1
    (base_path / "2").mkdir()
    manager.poll()
    assert used(manager) == 2
    # As in TF Serving: what has served is still told of.
    assert states(manager) == {1: "END", 2: "AVAILABLE"}
    (ended,) = manager.status(spec(version=1)).model_version_status
    assert (ended.status.error_code, ended.status.error_message) == (0, "")


def test_folders_that_are_no_version_are_passed_over(base_path):
    (base_path / ".export-x").mkdir()
    (base_path / "notes").mkdir()
    (base_path / "9").touch()
    manager = make_manager(base_path)
    manager.poll()
    assert states(manager) == {1: "AVAILABLE"}


@pytest.mark.parametrize(
    "policy, served",
    [
        ({}, {3}),
        ({"latest": 2}, {2, 3}),
        ({"latest": 0}, {1, 2, 3}),
        ({"specific": (1, 3)}, {1, 3}),
    ],
)
def test_the_policy_says_which_versions_are_served(base_path, policy, served):
    for version in ("2", "3"):
        (base_path / version).mkdir()
    manager = make_manager(base_path, **policy)
    manager.poll()
    assert set(states(manager)) == served
    for version in served:
        assert used(manager, version=version) == version


def test_a_label_names_a_version(base_path):
    (base_path / "2").mkdir()
    manager = make_manager(base_path, latest=2, labels={"stable": 1})
    manager.poll()
    assert used(manager, label="stable") == 1


def test_a_version_that_fails_to_load_leaves_the_old_one(base_path):
    manager = make_manager(base_path)
    manager.poll()
    (base_path / "2").mkdir()
    (base_path / "2" / "broken").touch()
    manager.poll()
    assert used(manager) == 1
    assert states(manager) == {1: "AVAILABLE", 2: "END"}
    (status,) = manager.status(spec(version=2)).model_version_status
    assert "no graph" in status.status.error_message
    # It is not tried again and again, but when it has changed.
    manager.poll()
    assert manager.load_counts[str(base_path / "2"), "fail"] == 1
    shutil.rmtree(base_path / "2")
    (base_path / "2").mkdir()
    manager.poll()
    assert used(manager) == 2


def test_a_version_that_was_seen_while_it_was_copied_is_tried_again(base_path):
    weights = base_path / "1" / "variables" / "data"
    weights.parent.mkdir()
    weights.write_bytes(b"hal")

    def make_model(directory):
        if weights.read_bytes() != b"whole":
            raise OSError("cut short")
        return _Model(directory)

    manager = VersionManager([ModelSource("m", base_path)], make_model)
    manager.poll()
    assert states(manager) == {1: "END"}
    # No folder changes with it.
    weights.write_bytes(b"whole")
    manager.poll()
    assert used(manager) == 1


def test_all_stays_when_the_model_s_folder_is_gone(base_path):
    manager = make_manager(base_path)
    manager.poll()
    shutil.rmtree(base_path)
    manager.poll()
    assert used(manager) == 1


def test_nothing_stays_when_the_model_s_folder_is_empty(base_path):
    """As in TF Serving, and what is put there again is loaded again."""
    manager = make_manager(base_path)
    manager.poll()
    (base_path / "1").rmdir()
    manager.poll()
    with pytest.raises(ServingError, match="Servable not found"):
        used(manager)
    assert states(manager) == {1: "END"}
    (base_path / "1").mkdir()
    manager.poll()
    assert used(manager) == 1
    assert states(manager) == {1: "AVAILABLE"}


def test_the_status_looks_at_no_label_and_knows_no_empty_name(base_path):
    manager = make_manager(base_path)
    manager.poll()
    (status,) = manager.status(spec(label="none")).model_version_status
    assert status.version == 1
    with pytest.raises(ServingError, match="any versions of model ") as raised:
        manager.status(model_pb2.ModelSpec())
    assert raised.value.code == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "error, code",
    [
        (tf.errors.NotFoundError(None, None, "no op"), 5),
        (ServingError(grpc.StatusCode.UNIMPLEMENTED, "no"), 12),
        (OSError("no"), 2),
    ],
)
def test_a_failed_version_tells_the_code_of_its_error(base_path, error, code):
    def fail(_):
        raise error

    manager = VersionManager([ModelSource("m", base_path)], fail)
    manager.poll()
    (status,) = manager.status(spec()).model_version_status
    assert (status.state, status.status.error_code) == (status.END, code)


def test_a_version_is_closed_after_its_last_request(base_path):
    manager = make_manager(base_path)
    manager.poll()
    with manager.use(spec()) as (model, version):
        for newer in ("2", "3"):
            (base_path / newer).mkdir()
            manager.poll()
            # New versions take requests while the old one finishes its own.
            assert used(manager) == int(newer)
        assert version == 1
        assert not model.closed
        assert states(manager) == {
            **{1: "UNLOADING", 2: "END"},
            3: "AVAILABLE",
        }
    manager.poll()
    assert model.closed
    ended = {1: "END", 2: "END"}
    assert states(manager) == {**ended, 3: "AVAILABLE"}


def test_a_version_comes_back_while_it_is_being_unloaded(base_path):
    manager = make_manager(base_path)
    manager.poll()
    with manager.use(spec()) as (model, _):
        (base_path / "2").mkdir()
        manager.poll()
        (base_path / "2").rmdir()
        manager.poll()
        assert used(manager) == 2
    manager.poll()
    assert model.closed
    manager.poll()
    assert states(manager) == {1: "AVAILABLE", 2: "END"}


def test_the_end_waits_neither_for_requests_nor_for_loading(base_path):
    loading, forever = threading.Event(), threading.Event()

    def make_model(directory):
        if directory.name == "2":
            loading.set()
            forever.wait(20)
        return _Model(directory)

    manager = VersionManager([ModelSource("m", base_path)], make_model)
    manager.start(0.01)
    with manager.use(spec()) as (model, _):
        (base_path / "2").mkdir()
        assert loading.wait(20)
        started = time.monotonic()
        manager.stop()
        assert time.monotonic() - started < 10
        assert model.closed
    forever.set()


def test_a_warm_up_that_the_end_cancels_is_no_failure(base_path, monkeypatch):
    warming = threading.Event()

    def replay(model, directory):
        warming.set()
        while not model.closed:
            time.sleep(0.01)
        raise RuntimeError("cancelled")

    manager = make_manager(base_path)
    manager.start(0.01)
    monkeypatch.setattr(manager, "_replay", replay)
    (base_path / "2").mkdir()
    assert warming.wait(20)
    manager.stop()
    manager._thread.join(20)
    assert manager.load_counts == {(str(base_path / "1"), "success"): 1}


def test_nothing_is_served_before_there_is_a_version(tmp_path):
    manager = make_manager(tmp_path)
    manager.poll()
    assert not manager.is_ready()
    with pytest.raises(ServingError, match="Servable not found"):
        used(manager)


def test_a_version_may_be_written_with_leading_zeros(tmp_path):
    (tmp_path / "0007").mkdir()
    manager = make_manager(tmp_path)
    for _ in range(2):
        manager.poll()
        with manager.use(spec()) as (model, version):
            assert version == 7
            assert model.directory == tmp_path / "0007"
    assert manager.load_counts[str(tmp_path / "0007"), "success"] == 1


def test_a_failed_version_may_disappear(base_path, monkeypatch):
    (base_path / "1" / "broken").touch()
    manager = make_manager(base_path)
    manager.poll()
    found = {1: base_path / "1"}
    monkeypatch.setattr(ModelSource, "wanted_versions", lambda self: found)
    shutil.rmtree(base_path / "1")
    manager.poll()
    manager.poll()
    assert states(manager) == {1: "END"}


def test_a_model_that_cannot_be_polled_holds_up_no_other(base_path):
    class Unreadable(ModelSource):
        def wanted_versions(self):
            raise ValueError("as told")

    manager = VersionManager(
        [Unreadable("first", base_path), ModelSource("m", base_path)], _Model
    )
    manager.poll()
    assert used(manager) == 1


@pytest.mark.parametrize("seconds, expected", [(0, True), (-1, False)])
def test_polling_may_be_done_once_or_never(base_path, seconds, expected):
    manager = make_manager(base_path)
    threads = threading.active_count()
    manager.start(seconds)
    # Those of other tests may end meanwhile.
    assert threading.active_count() <= threads
    assert manager.is_ready() == expected
    manager.stop()


def test_a_version_that_no_message_can_hold_is_passed_over(base_path, caplog):
    (base_path / "20261123170000123456").mkdir()
    (base_path / str((1 << 63) - 1)).mkdir()
    manager = make_manager(base_path)
    for _ in range(3):
        manager.poll()
    assert used(manager) == (1 << 63) - 1
    told = [each for each in caplog.messages if "20261123170000123456" in each]
    assert len(told) == 1


@pytest.mark.parametrize("versions, told", [((), True), (("1",), False)])
def test_a_folder_without_versions_is_told(tmp_path, caplog, versions, told):
    for version in versions:
        (tmp_path / version).mkdir()
    manager = make_manager(tmp_path)
    manager.start(0)
    assert any("no version in" in each for each in caplog.messages) == told


def test_the_status_of_what_works_is_ok(base_path):
    manager = make_manager(base_path)
    manager.poll()
    (status,) = manager.status(spec()).model_version_status
    assert status.HasField("status")
    assert (status.status.error_code, status.status.error_message) == (0, "")


def test_an_interrupted_start_loads_no_more(tmp_path):
    """Of five models, each of which may take minutes."""
    loaded = []

    def make_model(directory):
        loaded.append(directory)
        manager.interrupt()
        return _Model(directory)

    for name in "abcde":
        (tmp_path / name / "1").mkdir(parents=True)
    sources = [ModelSource(name, tmp_path / name) for name in "abcde"]
    manager = VersionManager(sources, make_model)
    manager.start(1.0)
    assert len(loaded) == 1
    manager.stop()
