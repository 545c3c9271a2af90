"""Keeps the weights of the best epoch and stops when none gets better."""

import pathlib

import keras
import numpy as np

from ulmfit_tf.whole_files import DAMAGE, DamagedFile, write_arrays


class BestWeights(keras.callbacks.Callback):
    """Saves the best epoch's weights; stops after `patience` worse ones.

    What is best so far is read from the records of `TrainingState`, so a run
    that is killed and resumed stops where the uninterrupted one does.

    Args:
        path: File for the weights.
        variables: Dict by name of the variables to keep.
        state: `TrainingState` of the same `fit`.
        monitor: Str, a log that is better when lower.
        patience: Optional int, epochs; `None` never stops.
        patient_from: Int, epochs at the start of which none counts as worse.
    """

    def __init__(
        self,
        path,
        variables,
        state,
        monitor="val_loss",
        patience=3,
        patient_from=0,
    ):
        super().__init__()
        self.path = pathlib.Path(path)
        self.variables = variables
        self.state = state
        self.monitor = monitor
        self.patience = patience
        self.patient_from = patient_from

    def on_epoch_end(self, epoch, logs=None):
        past = [record[self.monitor] for record in self.state.records]
        values = [*past, logs[self.monitor]]
        # A loss that is not a number is the worst, not the best.
        best = int(np.argmin(np.nan_to_num(values, nan=np.inf)))
        # Without a file the best epoch is lost: this one is the best there is.
        if best == len(past) or not self.path.exists():
            self._save()
        elif self.patience is not None:
            worse = epoch - max(best, self.patient_from - 1)
            # Never set to false: another callback may have stopped the run.
            if worse >= self.patience:
                self.model.stop_training = True

    def restore(self):
        """Puts the best epoch's weights back.

        Raises:
            DamagedFile: If the file is missing or damaged.
        """
        try:
            with np.load(self.path, allow_pickle=False) as file:
                for name, variable in self.variables.items():
                    variable.assign(file[name])
        except DAMAGE as error:
            raise DamagedFile(self.path, error) from error

    def _save(self):
        arrays = {
            name: keras.ops.convert_to_numpy(variable)
            for name, variable in self.variables.items()
        }
        write_arrays(self.path, arrays)
