import contextlib
import multiprocessing
import os
import time

from trainers.experiments import sharing
from trainers.experiments.sharing import share_out
from trainers.locks import locked


def _done(folder, jobs):
    done = []
    share_out(folder, jobs, done.append)
    return done


def test_jobs_come_in_their_order(tmp_path):
    assert _done(tmp_path, {"a": 1, "b": 2, "c": 3}) == [1, 2, 3]


def _others(folder, names):
    """Holds locks until the test lets them go."""
    stack = contextlib.ExitStack()
    for name in names:
        stack.enter_context(locked(folder / name))
    return stack


def test_what_another_is_at_comes_last(tmp_path):
    other = _others(tmp_path, ["a"])
    done = []

    def work(job):
        done.append(job)
        if job == 3:
            other.close()

    share_out(tmp_path, {"a": 1, "b": 2, "c": 3}, work)
    assert done == [2, 3, 1]


def test_what_needs_a_stage_that_another_is_at_comes_last(
    tmp_path, monkeypatch
):
    stages = {1: "a", 3: "b", 4: "a"}
    others = {name: _others(tmp_path, [name]) for name in "ab"}
    done, waited = [], []

    def work(job):
        if job in stages:
            with locked(tmp_path / stages[job], patience=0.0):
                pass
        done.append(job)

    def wait(paths):
        waited.append([path.name for path in paths])
        # The one that was met first takes longer.
        others["b" if len(waited) == 1 else "a"].close()

    monkeypatch.setattr(sharing, "wait_for_any", wait)
    sharing.share_out(tmp_path, {f"job_{n}": n for n in range(1, 5)}, work)
    assert done == [2, 3, 1, 4]
    assert waited == [["a", "b", "a"], ["a", "a"]]


def _work(folder, log, names):
    def work(name):
        if not (folder / f"{name}.done").exists():
            with open(log, "a") as file:
                file.write(f"{name} {os.getpid()}\n")
            time.sleep(0.2)
            (folder / f"{name}.done").touch()

    share_out(folder, names, work)


def test_two_processes_do_each_job_once_and_share_the_work(tmp_path):
    names = {str(number): str(number) for number in range(8)}
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_work, args=(tmp_path, log, names))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted(name for name, _ in lines) == sorted(names)
    by_worker = {pid: [n for n, p in lines if p == pid] for _, pid in lines}
    assert len(by_worker) == 2
    assert min(len(mine) for mine in by_worker.values()) >= 2


def test_what_a_killed_process_was_at_is_done_by_the_other(tmp_path):
    log = tmp_path / "log"
    names = {"0": "0", "1": "1"}
    context = multiprocessing.get_context("fork")

    def die():
        share_out(tmp_path, names, lambda name: os._exit(1))

    worker = context.Process(target=die)
    worker.start()
    worker.join(30)
    _work(tmp_path, log, names)
    assert [line.split()[0] for line in log.read_text().splitlines()] == [
        "0",
        "1",
    ]
