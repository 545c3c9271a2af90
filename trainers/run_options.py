"""What every stage of a run is told, whatever it trains."""

import dataclasses
import logging
from typing import Any

from trainers import command_line, hardware

_log = logging.getLogger("trainers")


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

    @classmethod
    def of_run(cls, settings, directory, trains=True):
        """Returns the options of a run, which are the same when it is resumed.

        What `auto` came to is kept in the run folder: a run must not go on in
        another number format, nor with other shares of a batch.

        Args:
            settings: Namespace of the command line's settings.
            directory: Path of the run folder.
            trains: Bool, whether the training may begin here: one that is
                prepared takes the number format of the machine it begins on,
                but has its devices, by which its text is divided.

        Raises:
            UserError: If the run was started on another number of devices.
        """
        kept = command_line.read_json(directory / "config.json")
        options = cls.from_settings(settings).as_kept(kept, directory)
        if not trains:
            command_line.record(directory, replicas=options.num_replicas)
            return options
        command_line.record(directory, **options.to_keep())
        _log.info(
            "computing in %s on %d device(s)",
            options.policy,
            options.num_replicas,
        )
        return options

    def to_keep(self):
        """Returns what a run folder's settings must hold, see `as_kept`."""
        return {"policy": self.policy, "replicas": self.num_replicas}

    def as_kept(self, kept, directory):
        """Returns the options with the number format that a run has.

        Args:
            kept: Dict of the run folder's settings.
            directory: Path of the run folder.

        Raises:
            UserError: If the run was started on another number of devices.
        """
        # A run that has not begun to compute has neither.
        policy = kept.get("policy", self.policy)
        replicas = kept.get("replicas", self.num_replicas)
        if replicas != self.num_replicas:
            raise command_line.UserError(
                f"`--resume {directory}`: the run was started on {replicas} "
                f"device(s), and here it would use {self.num_replicas}. "
                "Its batches and states are divided among them, so resume it "
                "where TensorFlow sees as many (on GPUs: set "
                "CUDA_VISIBLE_DEVICES), or start a new run."
            )
        if policy != self.policy:
            _log.info(
                "the run was started in %s and goes on in it, although "
                "this machine would take %s",
                policy,
                self.policy,
            )
        return dataclasses.replace(self, policy=policy)

    @property
    def backward(self):
        """Bool, whether documents are read from their end."""
        return self.direction == "backward"

    @property
    def num_replicas(self):
        """Int, replicas that share a batch."""
        return self.strategy.num_replicas_in_sync
