"""Schedules, optimizer and callbacks of ULMFiT."""

from ulmfit_tf.training.adam import Adam
from ulmfit_tf.training.best_weights import BestWeights
from ulmfit_tf.training.discriminative import (
    DiscriminativeOptimizer,
    discriminative_rates,
)
from ulmfit_tf.training.learning_rate_finder import (
    LearningRateCurve,
    find_learning_rate,
)
from ulmfit_tf.training.replicas import separate_seeds
from ulmfit_tf.training.resume import (
    TrainingState,
    resumable_fit,
    saved_step,
)
from ulmfit_tf.training.schedules import (
    ScheduleSequence,
    SlantedTriangular,
    WarmUpStableDecay,
    one_cycle,
    warm_up_cosine,
)
from ulmfit_tf.training.unfreezing import (
    GradualUnfreezing,
    Stage,
    fewest_epochs,
    unfreezing_stages,
)
from ulmfit_tf.training.weight_averaging import (
    ExponentialAveraging,
    NonMonotoneAveraging,
)

__all__ = [
    "Adam",
    "BestWeights",
    "DiscriminativeOptimizer",
    "ExponentialAveraging",
    "GradualUnfreezing",
    "LearningRateCurve",
    "NonMonotoneAveraging",
    "ScheduleSequence",
    "SlantedTriangular",
    "Stage",
    "TrainingState",
    "WarmUpStableDecay",
    "discriminative_rates",
    "fewest_epochs",
    "find_learning_rate",
    "one_cycle",
    "resumable_fit",
    "saved_step",
    "separate_seeds",
    "unfreezing_stages",
    "warm_up_cosine",
]
