"""Training that can be killed at any time and resumed to the same result."""

import json
import pathlib
import time

import keras
import numpy as np

from ulmfit_tf.training.replicas import assign_value, read_value
from ulmfit_tf.training.traced_gradients import TracedGradients
from ulmfit_tf.whole_files import DAMAGE, DamagedFile, write_arrays


class TrainingState(keras.callbacks.Callback):
    """Keeps everything a `fit` needs to go on, in one file.

    That is: all variables of the model (weights, batch statistics, random
    seeds, carried states), of its optimizer and of its metrics, the step, and
    the records of the epochs done. The file is written beside and renamed. It
    stays as it is once a number is no longer finite: with such weights, or a
    mean loss of such steps, nothing could go on.

    Args:
        path: Path of the file.
        every_seconds: Float, time between files in the middle of epochs. At
            the end of each epoch there is one in any case.

    Attributes:
        callback_variables: List of variables of other callbacks, such as
            averages of the weights, which are kept too. Callbacks add theirs
            before `restore`.
        step: Int, optimizer steps done since the very start.
        records: List of dicts, of each epoch done its number (`epoch`), the
            step at its end (`step`) and its logs.
        stopped: Bool, whether a callback had stopped the training when the
            file that was restored was written.
        steps_per_epoch: Int, set by `resumable_fit`.
    """

    def __init__(self, path, every_seconds=120.0):
        super().__init__()
        self.path = pathlib.Path(path)
        self.every_seconds = every_seconds
        self.callback_variables = []
        self.step = 0
        self.records = []
        self.stopped = False
        self.steps_per_epoch = None
        self._saved_at = time.monotonic()
        self._metrics_to_restore = None

    def restore(self, model):
        """Loads the file into a compiled model, if there is one.

        Returns:
            Bool, whether there was one.

        Raises:
            DamagedFile: If the file is damaged.
            ValueError: If it is of another model.
        """
        if not self.path.exists():
            return False
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        saved_step(self.path)
        # Whole, before any variable is assigned.
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except DAMAGE as error:
            raise DamagedFile(self.path, error) from error
        header = json.loads(arrays["header"].tobytes())
        kinds = self._variables(model)
        for kind, variables in kinds.items():
            expected = [list(v.shape) for v in variables]
            found = header["shapes"].get(kind, [])
            if kind != "metrics" and found != expected:
                raise ValueError(
                    f"`{self.path}` holds the training state of another "
                    f"model: its {kind} variables differ in number or "
                    "shape. Resume with the settings the run was started "
                    "with, or start a new run."
                )
        for kind in ("model", "optimizer", "callback"):
            for index, variable in enumerate(kinds[kind]):
                assign_value(variable, arrays[f"{kind}_{index}"])
        self._metrics_to_restore = [
            arrays[f"metrics_{index}"]
            for index in range(len(header["shapes"]["metrics"]))
        ]
        self.step = header["step"]
        self.records = header["records"]
        self.stopped = header["stopped"]
        return True

    def on_epoch_begin(self, epoch, logs=None):
        half_done = self.step % self.steps_per_epoch
        if half_done and self._metrics_to_restore:
            # Keras has just reset the metrics of this epoch.
            metrics = self._variables(self.model)["metrics"]
            for variable, value in zip(
                metrics, self._metrics_to_restore, strict=True
            ):
                assign_value(variable, value)
        self._metrics_to_restore = None

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        # The last step of an epoch is saved with the epoch's record.
        within_epoch = self.step % self.steps_per_epoch
        due = time.monotonic() - self._saved_at > self.every_seconds
        if within_epoch and due:
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        record = {key: float(value) for key, value in (logs or {}).items()}
        self.records.append({"epoch": epoch, "step": self.step, **record})
        self.model.reset_metrics()
        self._save()

    def _save(self):
        sync_variables(self.model)
        kinds = self._variables(self.model)
        arrays = {
            f"{kind}_{index}": read_value(variable)
            for kind, variables in kinds.items()
            for index, variable in enumerate(variables)
        }
        if all(np.isfinite(array).all() for array in arrays.values()):
            self._write(kinds, arrays)
        self._saved_at = time.monotonic()

    def _write(self, kinds, arrays):
        header = {
            "step": self.step,
            "records": self.records,
            "stopped": bool(self.model.stop_training),
            "shapes": {
                kind: [list(v.shape) for v in variables]
                for kind, variables in kinds.items()
            },
        }
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), "uint8")
        write_arrays(self.path, arrays)

    def _variables(self, model):
        return {
            "model": model.variables,
            "optimizer": model.optimizer.variables,
            "metrics": model.metrics_variables,
            "callback": self.callback_variables,
        }


def saved_step(path):
    """Returns the step of a training state's file.

    Raises:
        DamagedFile: If the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return json.loads(file["header"].tobytes())["step"]
    except DAMAGE as error:
        raise DamagedFile(path, error) from error


def resumable_fit(
    model, dataset, steps_per_epoch, epochs, state, callbacks=(), **kwargs
):
    """Calls `model.fit` from where `state` was restored.

    Args:
        model: Compiled model.
        dataset: Callable from a global step to an endless `tf.data.Dataset`
            that starts there.
        steps_per_epoch: Int.
        epochs: Int, epochs from the very start.
        state: `TrainingState`, restored or new.
        callbacks: List of callbacks; they run before `state`, so that what
            they add to the logs is kept.
        **kwargs: Arguments of `fit`.

    Returns:
        List of dicts, the logs of every epoch from the very start.
    """
    callbacks = [*callbacks, state]
    state.steps_per_epoch = steps_per_epoch
    epoch, done = divmod(state.step, steps_per_epoch)
    if epoch >= epochs or state.stopped:
        return state.records
    traced = TracedGradients()
    fit = {"verbose": 0, "callbacks": callbacks, "shuffle": False, **kwargs}
    if done:
        # Keras makes the variables of compiled metrics when it first needs
        # them; those of an epoch half done must be there to be restored.
        model.evaluate(dataset(state.step), steps=1, verbose=0)
        model.fit(
            dataset(state.step),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=steps_per_epoch - done,
            **fit,
        )
        epoch += 1
    if epoch < epochs and not model.stop_training:
        model.fit(
            dataset(state.step),
            initial_epoch=epoch,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            **fit,
        )
    traced.forget()
    return state.records


def sync_variables(model):
    """Gives a model's variables the values of the last step of its `fit`.

    JAX's trainer holds them itself between the steps of an epoch, and leaves
    the variables without any.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()
