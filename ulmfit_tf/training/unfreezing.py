"""Which groups of layers are trained when."""

import dataclasses

import keras

from ulmfit_tf.training.traced_gradients import TracedGradients

METHODS = ("paper", "script", "chain-thaw", "full", "last")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of epochs in which the same groups are trained.

    Attributes:
        epochs: Number of epochs.
        groups: Indices of the trained groups, counted from the input up.
    """

    epochs: int
    groups: tuple[int, ...]


def unfreezing_stages(method, num_groups, epochs):
    """Returns the stages of a fine-tuning method.

    Args:
        method: One of
            `"paper"`: the last group alone for one epoch, then one more
            group each epoch, and all for the rest (Howard & Ruder, 2018,
            section 3.3);
            `"script"`: as the authors' scripts ran it: the last group, the
            last two, one epoch each, then all;
            `"chain-thaw"`: the last group, then each group from the input
            up alone, one epoch each, then all (Felbo et al., 2017);
            `"full"`: all groups from the start;
            `"last"`: the last group only.
        num_groups: Int.
        epochs: Int, epochs over all stages.

    Returns:
        List of `Stage`s whose epochs add up to `epochs`.

    Raises:
        ValueError: If the method is unknown or `epochs` too few for it.
    """
    opening = _opening(method, num_groups)
    if epochs <= len(opening):
        raise ValueError(
            f"Unfreezing by {method!r} takes {len(opening)} epochs before "
            f"the one that trains all {num_groups} groups. Received: "
            f"epochs={epochs}. Train for {len(opening) + 1} epochs or more, "
            "or choose another unfreezing method."
        )
    everything = tuple(range(num_groups))
    final = everything[-1:] if method == "last" else everything
    return [
        *(Stage(1, groups) for groups in opening),
        Stage(epochs - len(opening), final),
    ]


def fewest_epochs(method, num_groups):
    """Returns the epochs that a method takes to come to its last stage.

    Args:
        method: See `unfreezing_stages`.
        num_groups: Int.

    Raises:
        ValueError: If the method is unknown.
    """
    return len(_opening(method, num_groups)) + 1


def _opening(method, num_groups):
    """Groups of each epoch before those that go on to the end."""
    everything = tuple(range(num_groups))
    last = num_groups - 1
    openings = {
        "paper": [everything[index:] for index in range(last, 0, -1)],
        "script": [everything[last:], everything[last - 1 :]],
        "chain-thaw": [(last,), *((index,) for index in range(last))],
        "full": [],
        "last": [],
    }
    if method not in openings:
        raise ValueError(
            f"`method` must be one of {', '.join(METHODS)}. "
            f"Received: {method!r}."
        )
    return openings[method]


class GradualUnfreezing(keras.callbacks.Callback):
    """Freezes and unfreezes groups of layers at the start of epochs.

    Keras traces the train function once and so never sees a later change of
    `trainable`; this callback has it traced anew at each change. A frozen
    group gets no gradient, costs no backward pass, and its batch norm runs in
    inference mode (Keras' batch norm does so when it is not trainable).

    Args:
        layer_groups: List of lists of layers, from the input up.
        stages: List of `Stage`s.
    """

    def __init__(self, layer_groups, stages):
        super().__init__()
        self.layer_groups = layer_groups
        self.stages = stages
        self.trained_groups = None
        self._traced = None

    def on_train_begin(self, logs=None):
        self._traced = TracedGradients()

    def on_epoch_begin(self, epoch, logs=None):
        groups = self._groups_at(epoch)
        if groups == self.trained_groups:
            return
        for index, layers in enumerate(self.layer_groups):
            for layer in layers:
                layer.trainable = index in groups
        self.trained_groups = groups
        self._traced.forget()
        self.model.make_train_function(force=True)

    def _groups_at(self, epoch):
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.groups
            epoch -= stage.epochs
        return self.stages[-1].groups

    def on_train_end(self, logs=None):
        for layers in self.layer_groups:
            for layer in layers:
                layer.trainable = True
        self.trained_groups = None
        self.model.make_train_function(force=True)
