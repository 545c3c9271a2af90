"""Requests that arrive together are computed together."""

import collections
import dataclasses
import os
import threading
import time

import grpc
import numpy as np

from serving.status import ServingError, invalid_argument, tensorflow_errors
from serving.waiting import Waiter

_JOIN_SECONDS = 1.0
# Far more than there are processors, and few enough to be started.
_MOST_THREADS = 512


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
    """When a batch is closed, with TF Serving's names and defaults.

    Attributes:
        max_batch_size: Int, rows of a batch, and so of a request.
        batch_timeout_micros: Int, microseconds that the oldest request of a
            batch waits for others.
        max_enqueued_batches: Int, batches that may wait, full or not.
        num_batch_threads: Int, batches computed at the same time; by default
            as many as there are processors.
        allowed_batch_sizes: Tuple of int, ascending; a batch is filled up
            to the next of them. Empty for no filling.

    Raises:
        ValueError: If a number is too small or too large, or the sizes do not
            ascend to `max_batch_size`.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = dataclasses.field(
        default_factory=lambda: min(os.cpu_count() or 1, _MOST_THREADS)
    )
    allowed_batch_sizes: tuple = ()

    def __post_init__(self):
        for field in dataclasses.fields(self)[:4]:
            least = 0 if field.name == "batch_timeout_micros" else 1
            if getattr(self, field.name) < least:
                raise ValueError(
                    f"`{field.name}` must be at least {least}. Received: "
                    f"{getattr(self, field.name)}."
                )
        if self.num_batch_threads > _MOST_THREADS:
            raise ValueError(
                f"`num_batch_threads` must be at most {_MOST_THREADS}; the "
                "number of processors is a good one. Received: "
                f"{self.num_batch_threads}."
            )
        sizes = self.allowed_batch_sizes
        if sizes and (
            list(sizes) != sorted(set(sizes))
            or sizes[-1] != self.max_batch_size
        ):
            raise ValueError(
                "`allowed_batch_sizes` must ascend and end with "
                f"`max_batch_size`, {self.max_batch_size}. Received: "
                f"{list(sizes)}."
            )

    @classmethod
    def from_message(cls, message):
        """Returns the options of a `BatchingParameters` message."""
        given = {
            name: getattr(message, name).value
            for name in (field.name for field in dataclasses.fields(cls)[:4])
            if message.HasField(name)
        }
        return cls(
            **given, allowed_batch_sizes=tuple(message.allowed_batch_sizes)
        )


class _Task:
    """One request: its inputs, who waits for it and its answer."""

    def __init__(self, inputs, rows, waiter):
        self.inputs = inputs
        self.rows = rows
        self.waiter = waiter
        self.enqueued = time.monotonic()
        self.batch = None
        self.is_done = False
        self.outputs = None
        self.error = None

    def finish(self):
        """Lets the waiter have the answer."""
        self.is_done = True
        self.waiter.wake()


class _Batch:
    """Tasks that are computed together, as long as one of them is wanted."""

    def __init__(self, key, tasks):
        self.key = key
        self.tasks = tasks
        for task in tasks:
            task.batch = self
        limits = [task.waiter.remaining() for task in tasks]
        # The batch runs as long as its most patient request.
        self.waiter = Waiter(None if None in limits else max(limits))

    def leave_if_unwanted(self):
        """Gives the batch up when all who waited for it are gone."""
        if all(task.waiter.is_gone() for task in self.tasks):
            self.waiter.leave()


class BatchedModel:
    """A model whose concurrent requests are joined into batches.

    Only requests of one signature that ask for the same outputs are joined.
    Has the attributes and methods of `SessionModel`.

    Args:
        model: `SessionModel`.
        options: `BatchingOptions`.
    """

    def __init__(self, model, options):
        self._model = model
        self._options = options
        self._queues = collections.OrderedDict()
        self._changed = threading.Condition()
        self._closing = False
        self._threads = []
        try:
            for _ in range(options.num_batch_threads):
                thread = threading.Thread(target=self._work, daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError:
            # Those that have started would wait for ever, with the model.
            self.close()
            raise

    @property
    def unbatched(self):
        """The model itself, where nobody waits for others."""
        return self._model

    @property
    def signatures(self):
        """The model's signatures by name."""
        return self._model.signatures

    @property
    def meta_graph(self):
        """The model's `MetaGraphDef`."""
        return self._model.meta_graph

    def run(self, signature_name, inputs, output_names=None, waiter=None):
        """Runs a signature in a batch, see `SessionModel.run`.

        Raises:
            ServingError: If the request is larger than a batch, the queue is
                full or the time ran out; codes are TF Serving's.
        """
        waiter = waiter or Waiter()
        waiter.check()
        names = tuple(
            output_names or sorted(self.signatures[signature_name].outputs)
        )
        sizes = {len(array) for array in inputs.values()}
        if len(sizes) != 1:
            raise invalid_argument(
                "Batching Run() input tensors must have equal 0th-dimension "
                "size"
            )
        (rows,) = sizes
        if rows == 0:
            return self._model.run(signature_name, inputs, names, waiter)
        if rows > self._options.max_batch_size:
            raise invalid_argument(
                f"Task size {rows} is larger than maximum input batch size "
                f"{self._options.max_batch_size}"
            )
        key = (signature_name, names)
        task = _Task(inputs, rows, waiter)
        self._enqueue(key, task)
        try:
            # Each at its own deadline, however long the others may wait.
            waiter.wait_until(lambda: task.is_done)
        except ServingError as error:
            raise self._given_up(key, task, error) from None
        if task.error is not None:
            raise task.error
        return task.outputs

    def close(self):
        """Answers what is enqueued, ends the threads, closes the model."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            # A batch that takes longer is cancelled by closing the model.
            thread.join(_JOIN_SECONDS)
        self._model.close()

    def _enqueue(self, key, task):
        options = self._options
        with self._changed:
            if self._closing:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE, "The model is being unloaded"
                )
            queue = self._queues.setdefault(key, collections.deque())
            batches, rows = self._batches(queue)
            if (
                rows + task.rows > options.max_batch_size
                and batches >= options.max_enqueued_batches
            ):
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE,
                    "The batch scheduling queue to which this task was "
                    f"submitted is full; currently {batches} batches enqueued "
                    "and max_enqueued_batches is "
                    f"{options.max_enqueued_batches}",
                )
            queue.append(task)
            self._changed.notify()

    def _batches(self, queue):
        """Returns the batches of a queue and the rows of the last, open one.

        A task joins the open batch or, where it has no room, a new one: one
        batch is always open (TensorFlow's `shared_batch_scheduler.h`).
        """
        batches, rows = 1, 0
        for task in queue:
            rows += task.rows
            if rows > self._options.max_batch_size:
                batches, rows = batches + 1, task.rows
        return batches, rows

    def _given_up(self, key, task, error):
        """Takes back a task that nobody waits for; returns its error."""
        with self._changed:
            if task.batch is not None:
                task.batch.leave_if_unwanted()
                return error
            self._queues[key].remove(task)
        if error.code != grpc.StatusCode.DEADLINE_EXCEEDED:
            return error
        return ServingError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "Run() timeout exceeded while waiting in batching queue",
        )

    def _work(self):
        while (batch := self._next_batch()) is not None:
            try:
                self._run_batch(batch)
            except Exception as error:
                self._run_one_by_one(batch, error)
            for task in batch.tasks:
                task.finish()

    def _run_one_by_one(self, batch, error):
        """Answers a failed batch: one request may have spoilt the others'."""
        for task in batch.tasks:
            task.error = error
            # Computing it once more takes no less time than there was.
            if len(batch.tasks) == 1 or self._closing or _is_late(error):
                continue
            try:
                task.error = None
                self._run_batch(_Batch(batch.key, [task]))
            except Exception as own_error:
                # Whoever waits must hear of it, whatever it is.
                task.error = own_error
            task.finish()

    def _next_batch(self):
        """Waits for a batch to be due; `None` when the model closes."""
        with self._changed:
            while True:
                wait = None
                for key, queue in self._queues.items():
                    if not queue:
                        continue
                    due_in = self._due_in(queue)
                    if due_in <= 0:
                        # The others come first next time.
                        self._queues.move_to_end(key)
                        return _Batch(key, self._take(queue))
                    wait = due_in if wait is None else min(wait, due_in)
                if self._closing and wait is None:
                    return None
                if wait is not None:
                    # No lock waits for as long as the timeout may be.
                    wait = min(wait, threading.TIMEOUT_MAX)
                self._changed.wait(wait)

    def _due_in(self, queue):
        rows = sum(task.rows for task in queue)
        if self._closing or rows >= self._options.max_batch_size:
            return 0
        timeout = self._options.batch_timeout_micros / 1e6
        return queue[0].enqueued + timeout - time.monotonic()

    def _take(self, queue):
        tasks, rows = [], 0
        while queue and rows + queue[0].rows <= self._options.max_batch_size:
            task = queue.popleft()
            tasks.append(task)
            rows += task.rows
        return tasks

    def _run_batch(self, batch):
        alive = []
        for task in batch.tasks:
            if task.waiter.is_gone():
                # Its caller may not have noticed yet.
                task.error = task.waiter.error()
            else:
                alive.append(task)
        if not alive:
            return
        signature_name, names = batch.key
        with tensorflow_errors():
            outputs = self._model.run(
                signature_name, self._joined(alive), names, batch.waiter
            )
        start = 0
        for task in alive:
            stop = start + task.rows
            task.outputs = {
                name: array[start:stop] for name, array in outputs.items()
            }
            start = stop

    def _joined(self, tasks):
        joined = {
            name: np.concatenate([task.inputs[name] for task in tasks])
            for name in tasks[0].inputs
        }
        rows = sum(task.rows for task in tasks)
        sizes = [s for s in self._options.allowed_batch_sizes if s >= rows]
        if not sizes:
            return joined
        # Filled up with the last row, as TF Serving does.
        return {
            name: np.concatenate(
                [array, np.repeat(array[-1:], sizes[0] - rows, 0)]
            )
            for name, array in joined.items()
        }


def _is_late(error):
    """Whether a batch failed because its time was up."""
    return isinstance(error, ServingError) and error.code in (
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
