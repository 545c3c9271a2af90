"""Training that has diverged is stopped at once."""

import math

import keras


class FiniteLoss(keras.callbacks.Callback):
    """Stops training at the first loss that is not a finite number.

    Make it the first callback: what the others keep on disk is then from
    before.

    Args:
        state: `TrainingState`, which knows the step.
        remedy: Str, what the user can do about it.
        every: Int, steps between two looks. Where steps are computed while
            the next are prepared, a look waits for the last one. Between
            looks `TrainingState` writes nothing that is not finite.
    """

    def __init__(self, state, remedy, every=1):
        super().__init__()
        self.state = state
        self.remedy = remedy
        self.every = every

    def on_train_batch_end(self, batch, logs=None):
        if batch % self.every:
            return
        # The mean since the epoch began: once not finite, always.
        self._check("loss", logs, self.state.step + 1)

    def on_epoch_end(self, epoch, logs=None):
        for name in ("loss", "val_loss"):
            self._check(name, logs, self.state.step)

    def _check(self, name, logs, step):
        value = float((logs or {}).get(name, 0.0))
        if not math.isfinite(value):
            raise FloatingPointError(
                f"`{name}` is {value} at step {step}: the training has "
                f"diverged and was stopped. {self.remedy}"
            )
