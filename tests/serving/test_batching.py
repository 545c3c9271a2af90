"""Joining of requests, with a model that only counts."""

import threading
import time

import grpc
import numpy as np
import pytest

from serving import batching, config_files
from serving.batching import BatchedModel, BatchingOptions
from serving.status import ServingError
from serving.waiting import Waiter


class _Doubling:
    """A model that doubles numbers and remembers its batches."""

    def __init__(self):
        self.batches = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.closed = False
        self.signatures = {"double": type("", (), {"outputs": {"y": None}})}

    def run(self, name, inputs, output_names=None, waiter=None):
        self.may_run.wait(10)
        self.batches.append(inputs["x"].tolist())
        if waiter is not None:
            waiter.check()
        if -100 in inputs["x"]:
            raise ServingError(grpc.StatusCode.INVALID_ARGUMENT, "spoilt")
        return {"y": 2 * inputs["x"]}

    def close(self):
        self.closed = True


@pytest.fixture
def make_batched():
    made = []

    def make(**options):
        model = _Doubling()
        batched = BatchedModel(model, BatchingOptions(**options))
        made.append((model, batched))
        return model, batched

    yield make
    for model, batched in made:
        model.may_run.set()
        batched.close()
        assert model.closed


def _ask(batched, values, timeout=None):
    """Starts a request; returns the list that its answer comes to."""
    answer = []

    def run():
        try:
            inputs = {"x": np.array(values)}
            outputs = batched.run("double", inputs, None, Waiter(timeout))
            answer.append(outputs["y"].tolist())
        except ServingError as error:
            answer.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, answer


def _answers(asked):
    for thread, _ in asked:
        thread.join(10)
    return [answer[0] for _, answer in asked]


def test_requests_that_wait_are_computed_together(make_batched):
    model, batched = make_batched(
        max_batch_size=4, batch_timeout_micros=5_000_000, num_batch_threads=1
    )
    asked = [_ask(batched, [n, -n]) for n in (1, 2)]
    assert sorted(_answers(asked)) == [[2, -2], [4, -4]]
    assert [sorted(batch) for batch in model.batches] == [[-2, -1, 1, 2]]


def test_a_batch_waits_no_longer_than_its_timeout(make_batched):
    model, batched = make_batched(max_batch_size=4, batch_timeout_micros=1000)
    assert _answers([_ask(batched, [3])]) == [[6]]
    assert model.batches == [[3]]


def test_a_timeout_longer_than_any_lock_waits(make_batched):
    model, batched = make_batched(
        max_batch_size=2,
        batch_timeout_micros=(1 << 63) - 1,
        num_batch_threads=1,
    )
    waiting = _ask(batched, [1])
    _wait_for(lambda: any(batched._queues.values()))
    # Long enough for its thread to begin its wait.
    time.sleep(0.1)
    assert _answers([waiting, _ask(batched, [2])]) == [[2], [4]]
    assert model.batches == [[1, 2]]


def test_a_batch_is_filled_up_to_an_allowed_size(make_batched):
    model, batched = make_batched(
        max_batch_size=8, allowed_batch_sizes=(2, 4, 8)
    )
    assert _answers([_ask(batched, [1, 2, 3])]) == [[2, 4, 6]]
    assert model.batches == [[1, 2, 3, 3]]


def test_an_empty_request_is_not_batched(make_batched):
    model, batched = make_batched(max_batch_size=4)
    assert _answers([_ask(batched, [])]) == [[]]


def _wait_for(condition):
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def _filled(make_batched, max_batch_size, waiting):
    """Returns model, session and what was asked: one runs, the rest wait."""
    model, batched = make_batched(
        max_batch_size=max_batch_size,
        max_enqueued_batches=2,
        num_batch_threads=1,
    )
    model.may_run.clear()
    queues = batched._queues
    asked = [_ask(batched, [0])]
    _wait_for(lambda: queues and not any(queues.values()))
    for n, rows in enumerate(waiting, start=1):
        asked.append(_ask(batched, rows))
        _wait_for(lambda n=n: sum(map(len, queues.values())) == n)
    return model, batched, asked


def test_a_full_queue_is_unavailable(make_batched):
    model, batched, asked = _filled(make_batched, 1, [[1], [2]])
    (refused,) = _answers([_ask(batched, [3])])
    assert refused.code == grpc.StatusCode.UNAVAILABLE
    assert refused.message == (
        "The batch scheduling queue to which this task was submitted is full; "
        "currently 2 batches enqueued and max_enqueued_batches is 2"
    )
    model.may_run.set()
    assert _answers(asked) == [[0], [2], [4]]


def test_batches_are_counted_and_not_their_rows(make_batched):
    # Neither of those that wait has room in the other's batch.
    model, batched, asked = _filled(make_batched, 4, [[1] * 3, [2] * 3])
    (refused,) = _answers([_ask(batched, [3, 3])])
    assert refused.code == grpc.StatusCode.UNAVAILABLE
    assert "currently 2 batches enqueued" in refused.message
    # The open one has room for one more.
    asked.append(_ask(batched, [4]))
    _wait_for(lambda: sum(map(len, batched._queues.values())) == 3)
    model.may_run.set()
    answers = _answers(asked)
    assert answers == [[0], [2] * 3, [4] * 3, [8]]
    assert model.batches == [[0], [1] * 3, [2] * 3 + [4]]


def test_a_request_that_waited_too_long_is_resource_exhausted(make_batched):
    model, batched = make_batched(max_batch_size=1, num_batch_threads=1)
    model.may_run.clear()
    running = _ask(batched, [0])
    _wait_for(lambda: batched._queues)
    late = _ask(batched, [1], timeout=0.05)
    time.sleep(0.5)
    model.may_run.set()
    first, second = _answers([running, late])
    assert first == [0]
    assert second.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "timeout exceeded while waiting" in second.message


def test_joined_requests_end_at_their_own_deadlines(make_batched):
    model, batched = make_batched(
        max_batch_size=3, batch_timeout_micros=5_000_000, num_batch_threads=1
    )
    model.may_run.clear()
    started = time.monotonic()
    hurried = [_ask(batched, [n], timeout=1.0) for n in (1, 2)]
    patient = _ask(batched, [3])
    for error in _answers(hurried):
        assert error.code == grpc.StatusCode.DEADLINE_EXCEEDED
    # Neither waits for the model, which is let go only now.
    assert 1.0 <= time.monotonic() - started < 5
    model.may_run.set()
    assert _answers([patient]) == [[6]]
    assert [sorted(batch) for batch in model.batches] == [[1, 2, 3]]


def test_a_batch_that_all_have_left_is_given_up_and_not_tried_again(
    make_batched,
):
    model, batched = make_batched(
        max_batch_size=2, batch_timeout_micros=5_000_000, num_batch_threads=1
    )
    model.may_run.clear()
    asked = [_ask(batched, [n], timeout=1.0) for n in (1, 2)]
    for error in _answers(asked):
        assert error.code == grpc.StatusCode.DEADLINE_EXCEEDED
    model.may_run.set()
    assert _answers([_ask(batched, [3, 4])]) == [[6, 8]]
    assert [sorted(batch) for batch in model.batches] == [[1, 2], [3, 4]]


def test_whoever_has_left_the_queue_is_not_computed(make_batched):
    model, batched = make_batched(max_batch_size=2, num_batch_threads=1)
    model.may_run.clear()
    running = _ask(batched, [0, 0])
    _wait_for(lambda: batched._queues and not any(batched._queues.values()))
    waiter = Waiter()
    gone = threading.Thread(
        target=lambda: pytest.raises(
            ServingError,
            batched.run,
            *("double", {"x": np.array([1])}, None, waiter),
        )
    )
    gone.start()
    _wait_for(lambda: any(batched._queues.values()))
    waiter.leave()
    gone.join(10)
    assert not gone.is_alive()
    staying = _ask(batched, [2, 3])
    model.may_run.set()
    assert _answers([running, staying]) == [[0, 0], [4, 6]]
    assert model.batches == [[0, 0], [2, 3]]


def test_a_request_after_the_end_is_unavailable():
    batched = BatchedModel(_Doubling(), BatchingOptions())
    batched.close()
    (refused,) = _answers([_ask(batched, [1])])
    assert refused.code == grpc.StatusCode.UNAVAILABLE


def test_a_spoilt_request_spoils_no_other(make_batched):
    _, batched = make_batched(
        max_batch_size=2, batch_timeout_micros=5_000_000, num_batch_threads=1
    )
    good, bad = _answers([_ask(batched, [4]), _ask(batched, [-100])])
    assert good == [8]
    assert bad.message == "spoilt"


def test_a_request_larger_than_a_batch_is_refused(make_batched):
    _, batched = make_batched(max_batch_size=2)
    (refused,) = _answers([_ask(batched, [1, 2, 3])])
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "Task size 3 is larger" in refused.message


def test_parameters_are_read_from_tf_servings_file(tmp_path):
    path = tmp_path / "batching.config"
    path.write_text(
        "max_batch_size { value: 32 } batch_timeout_micros { value: 2000 }\n"
        "num_batch_threads { value: 3 } allowed_batch_sizes: 16\n"
        "allowed_batch_sizes: 32"
    )
    message = config_files.read_config(path, config_files.BatchingParameters)
    assert BatchingOptions.from_message(message) == BatchingOptions(
        max_batch_size=32,
        batch_timeout_micros=2000,
        num_batch_threads=3,
        allowed_batch_sizes=(16, 32),
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros"),
        ({"num_batch_threads": 513}, "`num_batch_threads` must be at most"),
        ({"allowed_batch_sizes": (2, 1)}, "ascend"),
        ({"allowed_batch_sizes": (4,)}, "end with"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        BatchingOptions(**options)


def test_a_thread_that_cannot_be_started_leaves_nothing_behind(monkeypatch):
    started = []
    start = threading.Thread.start

    def start_two(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    model = _Doubling()
    with pytest.raises(RuntimeError, match="new thread"):
        BatchedModel(model, BatchingOptions(num_batch_threads=3))
    assert model.closed
    assert not any(thread.is_alive() for thread in started)


def test_who_is_gone_when_the_batch_begins_gets_an_error(make_batched):
    """Even where its thread wakes only after the batch is done."""
    _, batched = make_batched()
    late, left, patient = Waiter(0.0), Waiter(60.0), Waiter(60.0)
    left.leave()
    tasks = [
        batching._Task({"x": np.array([value])}, 1, waiter)
        for value, waiter in ((1, late), (2, left), (3, patient))
    ]
    batched._run_batch(batching._Batch(("double", ("y",)), tasks))
    codes = [task.error and task.error.code.name for task in tasks]
    assert codes == ["DEADLINE_EXCEEDED", "CANCELLED", None]
    assert tasks[2].outputs["y"].tolist() == [6]
