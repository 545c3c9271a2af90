"""One process at a time."""

import multiprocessing
import time

import pytest

from trainers.command_line import UserError
from trainers.locks import is_held, locked, run_locked, wait_for_any


def hold(path, ready, seconds):
    with locked(path):
        ready.set()
        time.sleep(seconds)


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds a lock for some seconds."""
    processes = []

    def start(name, seconds):
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        process = context.Process(
            target=hold, args=(tmp_path / name, ready, seconds)
        )
        process.start()
        processes.append(process)
        assert ready.wait(20)
        return process

    yield start
    for process in processes:
        process.kill()
        process.join()


def test_another_process_is_waited_for(holder, tmp_path):
    began = time.monotonic()
    holder("lock", 0.5)
    with locked(tmp_path / "lock"):
        assert time.monotonic() - began >= 0.5


def test_patience_has_an_end(holder, tmp_path):
    holder("lock", 60)
    with (
        pytest.raises(TimeoutError, match="lock` for"),
        locked(tmp_path / "lock", patience=0.3),
    ):
        pass


def test_a_lock_ends_with_its_process(holder, tmp_path):
    process = holder("lock", 60)
    process.kill()
    with locked(tmp_path / "lock", patience=5.0):
        pass


def test_the_first_lock_that_is_free_ends_a_wait_for_several(holder, tmp_path):
    paths = [tmp_path / name for name in ("long", "short")]
    holder("long", 60)
    holder("short", 0.5)
    assert [is_held(path) for path in paths] == [True, True]
    wait_for_any(paths)
    assert [is_held(path) for path in paths] == [True, False]


def test_a_run_has_one_process(holder, tmp_path):
    process = holder(".lock", 60)
    with (
        pytest.raises(UserError, match="another process is at work"),
        run_locked(tmp_path),
    ):
        pass
    process.kill()
    process.join()
    with run_locked(tmp_path):
        pass
    # What fails inside is not taken for a lock.
    with pytest.raises(TimeoutError, match="own"), run_locked(tmp_path):
        raise TimeoutError("own")
