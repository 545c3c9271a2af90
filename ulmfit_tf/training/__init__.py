"""Schedules, optimizer and callbacks of ULMFiT."""

from ulmfit_tf.training.adam import Adam
from ulmfit_tf.training.best_weights import BestWeights
from ulmfit_tf.training.discriminative import (
    DiscriminativeOptimizer,
    discriminative_rates,
)
from ulmfit_tf.training.resume import (
    TrainingState,
    resumable_fit,
    saved_step,
)
from ulmfit_tf.training.schedules import (
    ScheduleSequence,
    SlantedTriangular,
    WarmUpStableDecay,
)
from ulmfit_tf.training.unfreezing import (
    GradualUnfreezing,
    Stage,
    unfreezing_stages,
)

__all__ = [
    "Adam",
    "BestWeights",
    "DiscriminativeOptimizer",
    "GradualUnfreezing",
    "ScheduleSequence",
    "SlantedTriangular",
    "Stage",
    "TrainingState",
    "WarmUpStableDecay",
    "discriminative_rates",
    "resumable_fit",
    "saved_step",
    "unfreezing_stages",
]
