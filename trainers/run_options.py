"""What every stage of a run is told, whatever it trains."""

import dataclasses
from typing import Any

from trainers import hardware


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Options that the stages of one direction share.

    Attributes:
        direction: `"forward"` or `"backward"`.
        seed: Of weights, masks and the order of the text.
        policy: Keras dtype policy.
        strategy: `tf.distribute.Strategy`.
        checkpoint_seconds: Time between saved training states.
    """

    direction: str
    seed: int
    policy: str
    strategy: Any
    checkpoint_seconds: float

    @classmethod
    def from_settings(cls, settings):
        """Returns the options that a command line's settings ask for."""
        return cls(
            direction=settings.direction,
            seed=settings.seed,
            policy=hardware.dtype_policy(settings.precision),
            strategy=hardware.distribution(settings.strategy),
            checkpoint_seconds=settings.checkpoint_seconds,
        )

    @property
    def backward(self):
        """Bool, whether documents are read from their end."""
        return self.direction == "backward"

    @property
    def num_replicas(self):
        """Int, replicas that share a batch."""
        return self.strategy.num_replicas_in_sync
