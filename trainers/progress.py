"""Progress of a training stage, as lines on standard error."""

import logging
import time

import keras

_INTERVAL = 20.0
_log = logging.getLogger("trainers")


class Progress(keras.callbacks.Callback):
    """Logs a line now and then, and one at the end of each epoch.

    Lines, not a bar: they read well in a terminal and in a file.

    Args:
        stage: Str, name of the stage.
        state: `TrainingState`, which knows the step.
        total_steps: Int, steps of the whole stage.
        tokens_per_step: Optional float; logs tokens a second.
    """

    def __init__(self, stage, state, total_steps, tokens_per_step=None):
        super().__init__()
        self.stage = stage
        self.state = state
        self.total_steps = total_steps
        self.tokens_per_step = tokens_per_step

    def on_train_begin(self, logs=None):
        self._since = self._logged_at = time.monotonic()
        # The state counts a step after this callback has seen it.
        self._first_step = self.state.step

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if self.state.step == self._first_step:
            # The first step traces the graph: it says nothing of the rest.
            self._since = now
        if now - self._logged_at > _INTERVAL:
            self._logged_at = now
            self._log(now, [], logs)

    def on_epoch_end(self, epoch, logs=None):
        self._logged_at = time.monotonic()
        self._log(self._logged_at, [f"epoch {epoch + 1} done"], logs)

    def _log(self, now, event, logs):
        step = self.state.step
        parts = [f"step {step}/{self.total_steps}"]
        if step > self._first_step:
            pace = (now - self._since) / (step - self._first_step)
            if self.tokens_per_step:
                parts.append(f"{self.tokens_per_step / pace:,.0f} tokens/s")
            minutes = pace * (self.total_steps - step) / 60
            parts.append(f"{minutes:.1f} min left")
        figures = [
            f"{name} {value:.4g}"
            for name, value in (logs or {}).items()
            if not name.startswith("learning_rate")
        ]
        parts += [*event, *figures]
        _log.info("%s: %s", self.stage, ", ".join(parts))


class GroupRates(keras.callbacks.Callback):
    """Adds the learning rate of every layer group to the logs.

    Args:
        optimizers: List of optimizers, from the input up.
    """

    def __init__(self, optimizers):
        super().__init__()
        self.optimizers = optimizers

    def on_epoch_end(self, epoch, logs=None):
        for index, optimizer in enumerate(self.optimizers):
            rate = keras.ops.convert_to_numpy(optimizer.learning_rate)
            logs[f"learning_rate/group_{index}"] = float(rate)
