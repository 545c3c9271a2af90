"""Progress of a training stage, as lines on standard error."""

import itertools
import logging
import time

import keras

_INTERVAL = 20.0
_log = logging.getLogger("trainers")


class Progress(keras.callbacks.Callback):
    """Logs a line now and then, and one at the end of each epoch of `fit`.

    Lines, not a bar: they read well in a terminal and in a file.

    Args:
        stage: Str, name of the stage.
        state: `TrainingState`, which knows the step.
        total_steps: Int, steps of the whole stage.
        batches: Callable from a step to the data set that starts there, to
            tell how long a step's batch takes to make.
        tokens_per_step: Optional float; logs tokens a second.
        changes: Iterable of ints, the steps from which on other layers are
            trained, at another pace.
        unit: Str, what an epoch of `fit` is called: it may be a part of one
            of the text.
    """

    def __init__(
        self,
        stage,
        state,
        total_steps,
        batches,
        tokens_per_step=None,
        changes=(),
        unit="epoch",
    ):
        super().__init__()
        self.stage = stage
        self.state = state
        self.total_steps = total_steps
        self.batches = batches
        self.tokens_per_step = tokens_per_step
        self.changes = frozenset(changes)
        self.unit = unit
        self._batch_seconds: float | None = None

    def on_train_begin(self, logs=None):
        self._since = self._logged_at = time.monotonic()
        # Steps whose time is known since layers were last changed.
        self._timed = None
        # Whether an epoch's end is in that time.
        self._with_end = False
        if self._batch_seconds is None:
            self._batch_seconds = seconds_a_batch(self.batches(self.state.step))

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        # The state counts a step after this callback has seen it.
        if self._timed is None or self.state.step in self.changes:
            # The first step traces the graph: it says nothing of the rest.
            self._since, self._timed, self._with_end = now, 0, False
        else:
            self._timed += 1
        if now - self._logged_at > _INTERVAL:
            self._logged_at = now
            of = self.total_steps // self.state.steps_per_epoch
            event = f"{self.unit} {self._epoch + 1} of {of}"
            self._log(now, self.state.step + 1, event, logs)

    def on_test_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if now - self._logged_at > _INTERVAL:
            self._logged_at = now
            _log.info("%s: validating, batch %d", self.stage, batch + 1)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        self._logged_at = time.monotonic()
        self._with_end = True
        event = f"{self.unit} {epoch + 1} done"
        self._log(self._logged_at, self.state.step, event, logs)

    def _log(self, now, step, event, logs):
        parts = [f"step {step}/{self.total_steps}"]
        if self._timed:
            pace = (now - self._since) / self._timed
            if self.tokens_per_step:
                parts.append(f"{self.tokens_per_step / pace:,.0f} tokens/s")
            # Made while the step before is computed, so hidden below 100 %.
            share = (self._batch_seconds or 0) / pace
            parts.append(f"input {100 * share:.1f} %")
            minutes = pace * (self.total_steps - step) / 60
            # More layers take longer, and so does what ends an epoch, such as
            # validation: of them there is no pace yet.
            more = step <= max(self.changes, default=-1) or not self._with_end
            bound = "at least " if more else ""
            parts.append(f"{bound}{minutes:.1f} min left in this stage")
        figures = [
            f"{name} {value:.4g}"
            for name, value in (logs or {}).items()
            if not name.startswith("learning_rate")
        ]
        parts += [event, *figures]
        _log.info("%s: %s", self.stage, ", ".join(parts))


def seconds_a_batch(dataset, num_batches=20):
    """Returns the time that a data set takes for a batch, by itself.

    Args:
        dataset: Iterable of at least two batches, such as a
            `tf.data.Dataset`.
        num_batches: Int, batches to time; the first one, which also starts
            the pipeline, is not among them.
    """
    iterator = itertools.islice(dataset, num_batches + 1)
    next(iterator)
    began = time.monotonic()
    count = sum(1 for _ in iterator)
    return (time.monotonic() - began) / max(1, count)


class Throughput(keras.callbacks.Callback):
    """Writes the tokens a second of each epoch to TensorBoard.

    Not to the logs: an interrupted run must end with the same records.

    Args:
        tokens_per_step: Float.
        state: `TrainingState`, which knows the step.
        directory: Folder of TensorBoard logs.
    """

    def __init__(self, tokens_per_step, state, directory):
        super().__init__()
        self.tokens_per_step = tokens_per_step
        self.state = state
        self.directory = str(directory)

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.monotonic()
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        # Validation comes after the last step.
        self._ended = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        import tensorflow as tf

        tokens = self._steps * self.tokens_per_step
        writer = tf.summary.create_file_writer(self.directory)
        with writer.as_default(step=self.state.step):
            tf.summary.scalar(
                "tokens_per_second", tokens / (self._ended - self._began)
            )
        writer.close()


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' callback, without rates of its own.

    It writes those of the optimizers, by names that count what was built
    before, and of frozen groups too; `GroupRates` has the rates in the logs.
    """

    def _collect_learning_rate(self, logs):
        return logs


def write_records(directory, records):
    """Writes epochs' figures to TensorBoard, as Keras' callback names them.

    Args:
        directory: Folder of TensorBoard logs.
        records: List of dicts, of each epoch its number (`epoch`), and its
            logs.
    """
    import tensorflow as tf

    for folder, prefix in (("train", ""), ("validation", "val_")):
        writer = tf.summary.create_file_writer(str(directory / folder))
        with writer.as_default():
            for record in records:
                for name in ("loss", "perplexity"):
                    if f"{prefix}{name}" in record:
                        tf.summary.scalar(
                            f"epoch_{name}",
                            record[f"{prefix}{name}"],
                            step=int(record["epoch"]),
                        )
        writer.close()


class GroupRates(keras.callbacks.Callback):
    """Records the learning rate of every layer group, 0 where it is frozen.

    The logs of an epoch get the rates of its last step; TensorBoard gets
    those of every tenth step as well, so that the triangles show.

    Args:
        optimizers: List of optimizers, from the input up.
        state: `TrainingState`, which knows the step.
        directory: Folder of TensorBoard logs.
    """

    _EVERY = 10

    def __init__(self, optimizers, state, directory):
        super().__init__()
        self.optimizers = optimizers
        self.state = state
        self.directory = str(directory)

    def on_train_begin(self, logs=None):
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(self.directory)
        self._iterations = self._current_iterations()

    def on_train_batch_end(self, batch, logs=None):
        if batch % self._EVERY == self._EVERY - 1:
            import tensorflow as tf

            rates = self._rates()
            with self._writer.as_default(step=self.state.step):
                for name, rate in rates.items():
                    tf.summary.scalar(f"step_{name}", rate)

    def on_epoch_begin(self, epoch, logs=None):
        self._iterations = self._current_iterations()

    def on_epoch_end(self, epoch, logs=None):
        logs.update(self._rates())

    def on_train_end(self, logs=None):
        self._writer.close()

    def _rates(self):
        """Rates of the last step; an optimizer that did not count is idle."""
        rates = {}
        for index, (optimizer, before, now) in enumerate(
            zip(
                self.optimizers,
                self._iterations,
                self._current_iterations(),
                strict=True,
            )
        ):
            # The attribute is the schedule at the step that comes next.
            schedule = optimizer._learning_rate
            rate = float(schedule(now - 1)) if now > before else 0.0
            rates[f"learning_rate/group_{index}"] = rate
        return rates

    def _current_iterations(self):
        # A replica's variable cannot be cast to int as it is.
        return [
            int(keras.ops.convert_to_numpy(optimizer.iterations))
            for optimizer in self.optimizers
        ]
