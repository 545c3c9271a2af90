"""A run that is killed and resumed knows the time of all its parts."""

import json
import multiprocessing
import time

from trainers.run_clock import RunClock


def work_until_killed(directory):
    with RunClock(directory, every_seconds=0.02):
        time.sleep(60)


def test_counts_from_zero_and_keeps_the_sum(tmp_path):
    began = time.monotonic()
    with RunClock(tmp_path) as clock:
        time.sleep(0.3)
        first = clock.seconds()
    assert 0.3 <= first <= round(time.monotonic() - began, 1)
    time.sleep(0.5)
    with RunClock(tmp_path) as clock:
        assert first <= clock.seconds() < first + 0.4
        time.sleep(0.3)
        assert clock.seconds() >= first + 0.3


def test_a_killed_part_counts(tmp_path):
    process = multiprocessing.get_context("fork").Process(
        target=work_until_killed, args=(tmp_path,)
    )
    process.start()
    kept = tmp_path / "seconds.json"
    while not (kept.exists() and json.loads(kept.read_text()) >= 0.5):
        assert process.is_alive()
        time.sleep(0.02)
    process.kill()
    process.join()
    assert RunClock(tmp_path).seconds() >= 0.5


def test_a_part_that_fails_counts(tmp_path):
    try:
        with RunClock(tmp_path):
            time.sleep(0.3)
            raise ValueError
    except ValueError:
        pass
    assert RunClock(tmp_path).seconds() >= 0.3


def test_nothing_is_written_after_the_run(tmp_path):
    with RunClock(tmp_path, every_seconds=0.01):
        time.sleep(0.05)
    before = (tmp_path / "seconds.json").read_text()
    time.sleep(0.1)
    assert (tmp_path / "seconds.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["seconds.json"]


def test_a_file_that_is_damaged_counts_nothing(tmp_path):
    for content in ("", "{", "null"):
        (tmp_path / "seconds.json").write_text(content)
        assert RunClock(tmp_path).seconds() < 10
