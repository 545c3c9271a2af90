"""Learning-rate schedules."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class SlantedTriangular(keras.optimizers.schedules.LearningRateSchedule):
    """Slanted triangular learning rates (Howard & Ruder, 2018, equation 3).

    With `cut = floor(total_steps * cut_frac)`, the rate of step `t` is

    ```
    p = t / cut                                        if t < cut
    p = 1 - (t - cut) / (cut * (1 / cut_frac - 1))     otherwise
    rate = max_learning_rate * (1 + p * (ratio - 1)) / ratio
    ```

    Two guards that the equation needs. `p` is at least 0: where `total_steps *
    cut_frac` is not whole, the equation falls below `max_learning_rate /
    ratio`, the lowest rate it is meant to have, before the last step, and may
    turn negative. And `cut` is at least one step; where the equation would
    have none, the rate falls over all of the steps that are left.

    Args:
        max_learning_rate: Float, the highest rate.
        total_steps: Int, optimizer steps of the whole schedule.
        cut_frac: Float in (0, 1), fraction of steps that raise the rate.
        ratio: Float, at least 1, how much smaller the lowest rate is.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self, max_learning_rate, total_steps, cut_frac=0.1, ratio=32.0
    ):
        super().__init__()
        if not 0 < cut_frac < 1:
            raise ValueError(
                "`cut_frac` must lie strictly between 0 and 1: it is the "
                "fraction of steps spent raising the learning rate (Howard & "
                f"Ruder use 0.1). Received: cut_frac={cut_frac}. To warm up "
                "for a fixed number of steps, pass "
                "`cut_frac=warmup_steps / total_steps`."
            )
        if total_steps < 1:
            raise ValueError(
                "`total_steps` must be at least 1, the number of optimizer "
                f"steps to schedule. Received: total_steps={total_steps}."
            )
        if ratio < 1:
            raise ValueError(
                "`ratio` must be at least 1: the lowest rate is the highest "
                f"divided by it. Received: ratio={ratio}."
            )
        self.max_learning_rate = max_learning_rate
        self.total_steps = total_steps
        self.cut_frac = cut_frac
        self.ratio = ratio

    def __call__(self, step):
        step = ops.cast(step, "float32")
        # The small term undoes rounding: 100 * 0.29 is 28.999... in binary.
        cut = int(self.total_steps * self.cut_frac + 1e-9)
        falling_steps = cut * (1 / self.cut_frac - 1)
        if cut == 0:
            cut, falling_steps = 1, max(1, self.total_steps - 1)
        rising = step / cut
        falling = 1 - (step - cut) / falling_steps
        p = ops.where(step < cut, rising, ops.maximum(falling, 0.0))
        return self.max_learning_rate * (1 + p * (self.ratio - 1)) / self.ratio

    def get_config(self):
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "cut_frac": self.cut_frac,
            "ratio": self.ratio,
        }


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class WarmUpStableDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises, stays, and falls: for pretraining in parts.

    The rate rises linearly over `warm_up_steps`, stays at
    `max_learning_rate`, and falls linearly to `max_learning_rate / ratio`
    over the last `decay_frac` of `total_steps`. Up to there it does not
    depend on `total_steps`, so a run can be given more steps, or fewer, while
    it goes on (Hu et al., 2024, "MiniCPM", section 4.2; Hägele et al., 2024,
    "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations").

    Args:
        max_learning_rate: Float, the highest rate.
        total_steps: Int, optimizer steps of the whole schedule.
        warm_up_steps: Int.
        decay_frac: Float in (0, 1], fraction of steps that lower the rate.
        ratio: Float, at least 1, how much smaller the last rate is.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        max_learning_rate,
        total_steps,
        warm_up_steps=200,
        decay_frac=0.2,
        ratio=32.0,
    ):
        super().__init__()
        if total_steps < 1 or warm_up_steps < 0:
            raise ValueError(
                "`total_steps` must be at least 1 and `warm_up_steps` at "
                f"least 0. Received: total_steps={total_steps}, "
                f"warm_up_steps={warm_up_steps}."
            )
        if not 0 < decay_frac <= 1 or ratio < 1:
            raise ValueError(
                "`decay_frac` must lie in (0, 1] and `ratio` be at least 1. "
                f"Received: decay_frac={decay_frac}, ratio={ratio}."
            )
        self.max_learning_rate = max_learning_rate
        self.total_steps = total_steps
        self.warm_up_steps = warm_up_steps
        self.decay_frac = decay_frac
        self.ratio = ratio

    @property
    def stable_until(self):
        """Step at which the rate begins to fall."""
        return round(self.total_steps * (1 - self.decay_frac))

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = (step + 1) / (self.warm_up_steps + 1)
        falling_steps = max(1, self.total_steps - self.stable_until)
        fallen = (step - self.stable_until) / falling_steps
        fallen = ops.clip(fallen, 0.0, 1.0)
        falling = 1 - fallen * (1 - 1 / self.ratio)
        return self.max_learning_rate * ops.minimum(
            ops.minimum(rising, 1.0), falling
        )

    def get_config(self):
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "warm_up_steps": self.warm_up_steps,
            "decay_frac": self.decay_frac,
            "ratio": self.ratio,
        }


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class ScheduleSequence(keras.optimizers.schedules.LearningRateSchedule):
    """Runs schedules one after another, each from its own step 0.

    Args:
        schedules: List of `LearningRateSchedule`s.
        steps: List of ints, how many steps each one lasts. The last one goes
            on for as long as it is asked.

    Raises:
        ValueError: If the lists are empty or not equally long.
    """

    def __init__(self, schedules, steps):
        super().__init__()
        if len(schedules) != len(steps) or not schedules:
            raise ValueError(
                "`schedules` and `steps` must be equally long and not empty. "
                f"Received: {len(schedules)} schedules, {len(steps)} steps."
            )
        self.schedules = list(schedules)
        self.steps = list(steps)

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = self.schedules[0](step)
        start = 0
        for schedule, steps in zip(
            self.schedules[1:], self.steps[:-1], strict=True
        ):
            start += steps
            later = schedule(ops.maximum(step - start, 0.0))
            rate = ops.where(step < start, rate, later)
        return rate

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "schedules": [serialize(schedule) for schedule in self.schedules],
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        schedules = [deserialize(schedule) for schedule in config["schedules"]]
        return cls(schedules, config["steps"])


def warm_up_cosine(max_learning_rate, total_steps, cut_frac=0.1, ratio=32.0):
    """Rises along a line, then falls along half a cosine.

    Loshchilov & Hutter (2017), "SGDR", equation 5, without restarts.

    Args:
        max_learning_rate: Float, the highest rate.
        total_steps: Int, optimizer steps of the whole schedule.
        cut_frac: Float in (0, 1), fraction of steps that raise the rate.
        ratio: Float, at least 1, how much smaller the first and the last
            rate are.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.
    """
    warm_up_steps = max(1, round(total_steps * cut_frac))
    return keras.optimizers.schedules.CosineDecay(
        max_learning_rate / ratio,
        decay_steps=max(1, total_steps - warm_up_steps),
        alpha=1 / ratio,
        warmup_target=max_learning_rate,
        warmup_steps=warm_up_steps,
    )


def one_cycle(max_learning_rate, total_steps, cut_frac=0.25):
    """Rises and falls along half a cosine each.

    The rates of Smith & Topin (2018), "Super-Convergence", as fastai v2's
    `fit_one_cycle` has them: from 1/25 of the highest to the highest in a
    quarter of the steps, then to 1/100,000. Momentum is not cycled, because
    the betas of a Keras optimizer are fixed.

    Args:
        max_learning_rate: Float, the highest rate.
        total_steps: Int, optimizer steps of the whole schedule.
        cut_frac: Float in (0, 1), fraction of steps that raise the rate.

    Returns:
        A `ScheduleSequence`.
    """
    rising_steps = max(1, round(total_steps * cut_frac))
    falling_steps = max(1, total_steps - rising_steps)
    cosine = keras.optimizers.schedules.CosineDecay
    # `alpha` is the last rate over the first one, here larger than 1.
    rising = cosine(max_learning_rate / 25, rising_steps, alpha=25.0)
    falling = cosine(max_learning_rate, falling_steps, alpha=1e-5)
    return ScheduleSequence([rising, falling], [rising_steps, falling_steps])
