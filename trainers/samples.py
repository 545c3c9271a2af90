"""Texts that a language model writes while it is trained."""

import contextlib

import keras
import tensorflow as tf

from ulmfit_tf import models

_NUM_TEXTS = 3
_NUM_TOKENS = 40


class SampleTexts(keras.callbacks.Callback):
    """Writes sampled texts to TensorBoard at the end of each epoch.

    They show what a perplexity means, and a text that went wrong. The seed
    is always the same, so that they differ by the model alone.

    Args:
        tokenizer: The model's tokenizer.
        backward: Bool, whether the model reads backward.
        state: `TrainingState`, which knows the step.
        directory: Folder of TensorBoard logs.
        averaging: Optional `WeightAveraging`, whose averages then write the
            texts, as they are what is evaluated.
    """

    def __init__(self, tokenizer, backward, state, directory, averaging=None):
        super().__init__()
        self.tokenizer = tokenizer
        self.backward = backward
        self.state = state
        self.directory = str(directory)
        self.averaging = averaging

    def on_epoch_end(self, epoch, logs=None):
        with (
            self.averaging.swapped_in()
            if self.averaging
            else contextlib.nullcontext()
        ):
            texts = models.generate_text(
                self.model,
                self.tokenizer,
                "",
                _NUM_TOKENS,
                backward=self.backward,
                num_texts=_NUM_TEXTS,
            )
        writer = tf.summary.create_file_writer(self.directory)
        with writer.as_default(step=self.state.step):
            tf.summary.text("samples", texts)
        writer.close()
