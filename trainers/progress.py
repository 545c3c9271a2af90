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
        self._first_step = self.state.step

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if batch == 0 and self._first_step + 1 == self.state.step:
            # The first step traces the graph: it says nothing of the rest.
            self._since, self._first_step = now, self.state.step
        if now - self._logged_at > _INTERVAL:
            self._logged_at = now
            _log.info("%s%s", self._where(now), _figures(logs))

    def on_epoch_end(self, epoch, logs=None):
        self._logged_at = time.monotonic()
        _log.info(
            "%sepoch %d done%s",
            self._where(self._logged_at),
            epoch + 1,
            _figures(logs),
        )

    def _where(self, now):
        step = self.state.step
        pace = (now - self._since) / max(1, step - self._first_step)
        left = pace * (self.total_steps - step)
        line = f"{self.stage}: step {step}/{self.total_steps}, "
        if self.tokens_per_step and pace:
            line += f"{self.tokens_per_step / pace:,.0f} tokens/s, "
        return f"{line}{left / 60:.1f} min left, "


def _figures(logs):
    shown = {
        key: value
        for key, value in (logs or {}).items()
        if not key.startswith("learning_rate")
    }
    return "".join(f", {key} {value:.4g}" for key, value in shown.items())


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
