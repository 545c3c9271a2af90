"""Averages of the weights over training steps, evaluated and exported."""

import contextlib

import keras
import numpy as np
from keras import ops

from ulmfit_tf.training.resume import sync_variables


class WeightAveraging(keras.callbacks.Callback):
    """Averages weights after every step and evaluates with the averages.

    With `t` steps averaged, `average += weight(t) * (weights - average)`.
    Training goes on with the weights themselves: an evaluation takes the
    averages and then puts the very same weights back. Before averaging has
    begun, the averages are the weights of the last evaluation.

    Keras' own way, `use_ema` with `SwapEMAWeights`, does not serve here: its
    average starts at the first step's weights and needs thousands of steps
    to forget them, its swap by addition rounds the weights, the end of every
    `fit` replaces them with the averages, so that a run in parts would be
    another one, and it knows no non-monotone trigger.

    Make it under the model's distribution strategy.

    Args:
        variables: Dict of the variables to average, by name.
        state: `TrainingState` of the same `fit`, which then keeps the
            averages too.
    """

    def __init__(self, variables, state):
        super().__init__()
        self.variables = variables
        self.averages = {
            name: keras.Variable(
                ops.convert_to_numpy(variable),
                trainable=False,
                dtype=variable.dtype,
                name=f"average_{name.replace('/', '_')}",
            )
            for name, variable in variables.items()
        }
        self._count = keras.Variable(
            0, trainable=False, dtype="int32", name="averaged_steps"
        )
        self._kept = None
        self.state = state
        state.callback_variables += [*self.averages.values(), self._count]

    @property
    def averaged_steps(self):
        """Int, steps in the average; 0 before averaging has begun."""
        return int(ops.convert_to_numpy(self._count))

    def weight(self, steps):
        """Returns the weight of the newest of `steps` averaged steps."""
        raise NotImplementedError

    def _average(self):
        sync_variables(self.model)
        steps = self.averaged_steps + 1
        self._count.assign(steps)
        weight = self.weight(steps)
        for name, average in self.averages.items():
            step = weight * (self.variables[name] - average)
            average.assign(average + step)

    @contextlib.contextmanager
    def swapped_in(self):
        """Puts the averages in the weights' place, as for an evaluation."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()

    def on_test_begin(self, logs=None):
        if not self.averaged_steps:
            _assign(self.averages, self.variables)
        self._kept = {
            name: np.array(ops.convert_to_numpy(variable))
            for name, variable in self.variables.items()
        }
        _assign(self.variables, self.averages)

    def on_test_end(self, logs=None):
        _assign(self.variables, self._kept)
        self._kept = None


class ExponentialAveraging(WeightAveraging):
    """Exponential moving average, without a bias to its start.

    `average_t` is the mean of the weights of all steps up to `t`, those of
    step `i` weighed `decay ** (t - i)` (Kingma & Ba, 2015, section 7.2).

    Args:
        variables: Dict of the variables to average, by name.
        state: `TrainingState` of the same `fit`.
        decay: Float in `[0, 1)`.

    Raises:
        ValueError: If `decay` lies out of its range.
    """

    def __init__(self, variables, state, decay=0.999):
        if not 0 <= decay < 1:
            raise ValueError(
                "`decay` must lie in [0, 1): the average forgets a step's "
                "weights by this factor with each later step. "
                f"Received: decay={decay}."
            )
        super().__init__(variables, state)
        self.decay = decay

    def weight(self, steps):
        return (1 - self.decay) / (1 - self.decay**steps)

    def on_train_batch_end(self, batch, logs=None):
        self._average()


class NonMonotoneAveraging(WeightAveraging):
    """Mean of the weights from where validation stops improving on.

    The trigger of NT-ASGD (Merity et al., 2017, section 3 and algorithm 1):
    averaging begins after the first epoch whose monitored value is worse
    than the best of all but the last `patience` epochs before it. The
    optimizer stays what it is; in the paper it is SGD.

    Args:
        variables: Dict of the variables to average, by name.
        state: `TrainingState` of the same `fit`.
        monitor: Str, a log that is better when lower.
        patience: Int, the paper's non-monotone interval.
    """

    def __init__(self, variables, state, monitor="val_loss", patience=5):
        super().__init__(variables, state)
        self.monitor = monitor
        self.patience = patience

    def weight(self, steps):
        return 1 / steps

    def on_train_batch_end(self, batch, logs=None):
        if self.averaged_steps:
            self._average()

    def on_epoch_end(self, epoch, logs=None):
        if self.averaged_steps:
            return
        past = [record[self.monitor] for record in self.state.records]
        earlier = past[: -self.patience]
        if earlier and logs[self.monitor] > min(earlier):
            self._average()


def _assign(targets, sources):
    for name, target in targets.items():
        # A step on JAX overwrites the memory of the variables it changes,
        # which an assigned array would share.
        target.assign(ops.copy(sources[name]))
