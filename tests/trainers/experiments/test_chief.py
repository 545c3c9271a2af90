import logging
import types
from concurrent import futures

import grpc
import keras_tuner
import pytest

from trainers.command_line import UserError
from trainers.experiments import chief, space
from trainers.experiments.oracles import new_oracle
from trainers.recipes import Recipe

# KerasTuner names threads in an old way.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
_POINT = space.defaults(["decay_factor"], Recipe())


class _Workers:
    """A chief's oracle, and workers that act while it polls."""

    def __init__(self, folder, monkeypatch, trials=3, resumed=False):
        points = space.grid(_POINT, trials)
        self.oracle = new_oracle(
            "grid", trials, seed=0, points=points, max_epochs=9, min_epochs=5
        )
        self.oracle._set_project_dir(str(folder), "search")
        hp = keras_tuner.HyperParameters()
        space.declare(hp, _POINT)
        self.oracle.update_space(hp)
        if resumed:
            self.oracle.reload()
        self.servicer = types.SimpleNamespace(
            oracle=self.oracle, stop_triggered=False, failure=None
        )
        self.folder = folder / "workers"
        self.folder.mkdir(exist_ok=True)
        self.now = 0.0
        self.actions = {}
        # Of the chief alone: threads of other tests may still be asleep.
        clock = types.SimpleNamespace(sleep=self._sleep)
        monkeypatch.setattr(chief, "time", clock)

    def _sleep(self, _):
        self.now += 1
        assert self.now < 1000, "the chief waits for ever"
        for worker in list(self.actions):
            if self.now in self.actions[worker]:
                self.actions[worker][self.now]()

    def at(self, second, worker, action):
        self.actions.setdefault(worker, {})[second] = action

    def alive(self, worker, seconds):
        sign = self.folder / worker
        for second in seconds:
            self.at(
                second,
                f"sign {worker}",
                lambda s=second: sign.write_text(str(s)),
            )

    def take(self, worker):
        trial = self.oracle.create_trial(worker)
        if trial.status == "STOPPED":
            self.servicer.stop_triggered = True
        return trial

    def end(self, worker):
        trial = self.oracle.ongoing_trials[worker]
        self.oracle.update_trial(trial.trial_id, {"validation_error": 1.0})
        trial.status = "COMPLETED"
        self.oracle.end_trial(trial)
        return self.take(worker)

    def wait(self, timeout=100):
        watch = chief.Watch(self.folder, clock=lambda: self.now)
        return chief.wait_for_workers(self.servicer, watch, timeout)

    def statuses(self):
        return [trial.status for trial in self.oracle.trials.values()]


def test_a_search_whose_last_worker_died_ends_and_tells(
    tmp_path, monkeypatch, caplog
):
    workers = _Workers(tmp_path, monkeypatch)
    workers.alive("w0", range(1, 50))
    workers.alive("w1", range(1, 10))
    workers.at(2, "w0", lambda: workers.take("w0"))
    workers.at(3, "w1", lambda: workers.take("w1"))
    # The other one does the rest and leaves.
    workers.at(20, "w0", lambda: workers.end("w0"))
    workers.at(30, "w0", lambda: workers.end("w0"))
    with caplog.at_level(logging.INFO, "trainers"):
        assert workers.wait() == ["w1"]
    # The last sign was at 9.
    assert 9 + 100 < workers.now < 9 + 105
    assert sorted(workers.statuses()) == ["COMPLETED", "COMPLETED", "RUNNING"]
    said = [m for m in caplog.messages if "shown no sign of life" in m]
    assert len(said) == 1 and said[0].startswith("w1, with trial 1, ")
    assert "same KERASTUNER_TUNER_ID" in said[0]
    assert "2 of at most 3 trials done; w1 runs 1" in caplog.messages


def test_another_worker_takes_a_dead_ones_trial_over(tmp_path, monkeypatch):
    workers = _Workers(tmp_path, monkeypatch)
    workers.alive("w0", range(1, 300))
    workers.alive("w1", range(1, 10))
    workers.at(2, "w0", lambda: workers.take("w0"))
    workers.at(3, "w1", lambda: workers.take("w1"))
    for second in (150, 160, 170):
        workers.at(second, "w0", lambda: workers.end("w0"))
    assert workers.wait() == []
    assert workers.statuses() == ["COMPLETED"] * 3


def test_a_worker_that_is_started_again_goes_on(tmp_path, monkeypatch):
    workers = _Workers(tmp_path, monkeypatch)
    workers.alive("w0", [*range(1, 10), *range(100, 200)])
    workers.at(2, "w0", lambda: workers.take("w0"))
    taken = []
    workers.at(100, "w0", lambda: taken.append(workers.take("w0").trial_id))
    for second in (120, 130, 140):
        workers.at(second, "w0", lambda: workers.end("w0"))
    assert workers.wait() == []
    assert taken == ["0"] and workers.statuses() == ["COMPLETED"] * 3


def test_a_live_process_shows_signs_and_an_ended_one_does_not(tmp_path):
    import time

    watch = chief.Watch(tmp_path)
    with chief.signs_of_life(tmp_path, "a/b", every=0.01):
        time.sleep(0.05)
        watch.silence("a/b")
        time.sleep(1.0)
        assert watch.silence("a/b") < 0.5
    watch.silence("a/b")
    time.sleep(0.1)
    assert watch.silence("a/b") >= 0.1
    assert watch.silence("never") == pytest.approx(0, abs=0.05)


def test_a_place_where_another_chief_listens_is_told(monkeypatch):
    other = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
    try:
        with pytest.raises(UserError, match=f"cannot listen at .*{port}"):
            chief.listen()
    finally:
        other.stop(0)


def test_a_resumed_chief_ends_what_a_worker_had_begun(tmp_path, monkeypatch):
    before = _Workers(tmp_path, monkeypatch)
    trial = before.take("w0")
    after = _Workers(tmp_path, monkeypatch, resumed=True)
    after.alive("w0", range(1, 50))
    # The worker has lived on, and does not ask for its trial again.
    after.oracle.update_trial(trial.trial_id, {"validation_error": 1.0})
    trial.status = "COMPLETED"
    after.oracle.end_trial(trial)
    after.at(5, "w0", lambda: after.take("w0"))
    for second in (10, 20, 30):
        after.at(second, "w0", lambda: after.end("w0"))
    assert after.wait() == []
    assert after.statuses() == ["COMPLETED"] * 3


def test_a_chief_that_cannot_answer_ends_and_says_why(tmp_path, monkeypatch):
    workers = _Workers(tmp_path, monkeypatch)
    workers.servicer = chief.Servicer(workers.oracle)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(workers.oracle, "save", full)
    request = types.SimpleNamespace(tuner_id="w0")
    # In a thread of its own, as gRPC has it.
    with futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(workers.servicer.CreateTrial, request, None)
        assert isinstance(call.exception(), OSError)
    with pytest.raises(RuntimeError, match="no space left on device"):
        workers.wait()
