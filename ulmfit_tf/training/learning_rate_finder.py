"""Learning-rate range test: the loss while the rate grows exponentially."""

import dataclasses

import keras
import numpy as np

from ulmfit_tf.training.replicas import assign_value, read_value

# Of the bias-corrected average. fastai's 0.98 lags by a decade of rates.
_SMOOTHING = 0.9
# A loss this much above the best one has diverged (fastai).
_DIVERGED = 4.0


@dataclasses.dataclass(frozen=True)
class LearningRateCurve:
    """Loss over learning rate.

    Attributes:
        rates: Float array `(steps,)`, growing.
        losses: Float array `(steps,)`, the loss of each step's batch.
        smoothed: Float array `(steps,)`, their exponential average.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def steepest(self):
        """Rate at which the smoothed loss falls fastest, over log rate.

        Up to the minimum, and without the first tenth, where the average is
        of few losses (as in fastai). `None` where the loss never falls.
        """
        first = len(self.rates) // 10
        lowest = int(np.argmin(self.smoothed))
        if lowest <= first:
            return None
        slopes = np.gradient(self.smoothed, np.log(self.rates))
        return float(self.rates[first + np.argmin(slopes[first : lowest + 1])])

    @property
    def minimum_tenth(self):
        """A tenth of the rate with the lowest smoothed loss."""
        return float(self.rates[np.argmin(self.smoothed)] / 10)


def find_learning_rate(model, dataset, rates):
    """Trains with growing learning rates and puts the model back after it.

    Smith (2017), "Cyclical Learning Rates for Training Neural Networks",
    section 3.3, with rates that grow exponentially. Stops early where the
    loss diverges.

    Args:
        model: Compiled model whose optimizer has a schedule with these rates.
        dataset: `tf.data.Dataset` of at least as many batches as rates.
        rates: Float array `(steps,)`, the rate of each step.

    Returns:
        A `LearningRateCurve`.

    Raises:
        FloatingPointError: If the loss is not finite even at the first rate.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = [read_value(variable) for variable in variables]
    recorder = _Recorder()
    try:
        model.fit(
            dataset,
            epochs=1,
            steps_per_epoch=len(rates),
            callbacks=[recorder],
            shuffle=False,
            verbose=0,
        )
    finally:
        for variable, value in zip(variables, before, strict=True):
            assign_value(variable, value)
    if not recorder.losses:
        raise FloatingPointError(
            "The loss of the first batch is not finite, at a learning rate of "
            f"{rates[0]:.1g}: the weights to start from are broken."
        )
    losses = np.array(recorder.losses)
    return LearningRateCurve(
        np.asarray(rates)[: len(losses)], losses, np.array(recorder.smoothed)
    )


class _Recorder(keras.callbacks.Callback):
    """Keeps the loss of every batch and stops where it diverges."""

    def __init__(self):
        super().__init__()
        self.losses = []
        self.smoothed = []
        self._average = 0.0

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        # Keras reports the mean over an epoch; this makes it the next batch's.
        self.model.reset_metrics()
        if not np.isfinite(loss):
            self.model.stop_training = True
            return
        self.losses.append(loss)
        self._average += (1 - _SMOOTHING) * (loss - self._average)
        correction = 1 - _SMOOTHING ** len(self.losses)
        self.smoothed.append(self._average / correction)
        if self.smoothed[-1] > _DIVERGED * min(self.smoothed):
            self.model.stop_training = True
