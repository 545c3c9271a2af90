"""Texts that a language model writes while it is trained."""

import contextlib

import keras
import tensorflow as tf

from ulmfit_tf import models, text

_NUM_TEXTS = 3
_NUM_TOKENS = 40
_PROMPT_TOKENS = 8


class SampleTexts(keras.callbacks.Callback):
    """Writes continuations of a text to TensorBoard at the end of each epoch.

    They show what a perplexity means, and a text that went wrong. The seed
    is always the same, so that they differ by the model alone.

    Args:
        tokenizer: The model's tokenizer.
        prompt: Str that is continued; `""` begins documents.
        backward: Bool, whether the model reads backward.
        state: `TrainingState`, which knows the step.
        directory: Folder of TensorBoard logs.
        averaging: Optional `WeightAveraging`, whose averages then write the
            texts, as they are what is evaluated.
    """

    def __init__(
        self, tokenizer, prompt, backward, state, directory, averaging=None
    ):
        super().__init__()
        self.tokenizer = tokenizer
        self.prompt = prompt
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
                self.prompt,
                _NUM_TOKENS,
                backward=self.backward,
                num_texts=_NUM_TEXTS,
            )
        writer = tf.summary.create_file_writer(self.directory)
        with writer.as_default(step=self.state.step):
            tf.summary.text("samples", texts)
        writer.close()


def held_out_prompt(corpus, tokenizer, backward):
    """Returns the first words of a document, or the last ones for backward.

    Args:
        corpus: `TokenizedCorpus` of text that is not trained on.
        tokenizer: Its tokenizer.
        backward: Bool, whether the model reads backward.

    Returns:
        Str, from the first document that is long enough and has only known
        words there; `""` if there is none.
    """
    joined = (
        text.detokenize_words
        if isinstance(tokenizer, text.WordTokenizer)
        else text.detokenize_pieces
    )
    for index in range(len(corpus)):
        # Without the mark of the beginning.
        ids = corpus[index][1:]
        chosen = ids[-_PROMPT_TOKENS:] if backward else ids[:_PROMPT_TOKENS]
        if len(ids) > _PROMPT_TOKENS and text.UNKNOWN_ID not in chosen:
            tokens = [tokenizer.vocabulary[int(each)] for each in chosen]
            return joined(tokens).strip()
    return ""
