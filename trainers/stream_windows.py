"""The windows of a stream for Keras backends without `tf.data`."""

import keras


class StreamWindows(keras.utils.PyDataset):
    """A language model's windows by their number, without an end.

    Not a generator: Keras fetches some batches ahead and begins anew at each
    evaluation, which a generator cannot.

    Args:
        stream: `LanguageModelStream`.
        first_step: Int, the step that is number 0 here.
    """

    def __init__(self, stream, first_step=0):
        super().__init__()
        self.stream = stream
        self.first_step = first_step
        self._next = None

    num_batches = None

    def __getitem__(self, index):
        if index != self._next:
            self._windows = self.stream.windows(self.first_step + index)
        self._next = index + 1
        return next(self._windows)
