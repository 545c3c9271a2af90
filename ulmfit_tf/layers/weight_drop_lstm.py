"""LSTM whose recurrent kernel is regularized with DropConnect."""

import contextlib

import keras
from keras import ops

from ulmfit_tf.layers.weight_dropout import drop_weights


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class WeightDropLSTM(keras.layers.LSTM):
    """LSTM with DropConnect on the hidden-to-hidden weights.

    Merity et al. (2017), section 2: single weights of the recurrent kernel
    are zeroed, with one mask for all timesteps of a forward pass, and the
    survivors scaled by `1 / (1 - weight_dropout)`. The raw kernel is the
    variable that is trained and saved; at inference it is used as it is.

    Always returns the sequence and the final states. The loop is chosen by
    where it runs: the project's kernel on TensorFlow CPU, cuDNN on GPU (the
    masked kernel is handed to it), and Keras' own loop elsewhere.

    Masking: masked timesteps hold the state. On TensorFlow CPU padding may
    lie anywhere; cuDNN needs it on the right of every `chunk_length`
    timesteps. What is output at masked timesteps depends on the loop and is
    not to be read: before the first valid one the project's kernel gives the
    initial hidden state and Keras' loop zeros, after it both repeat the last
    output.

    Args:
        units: Int, width of the state.
        weight_dropout: Float in `[0, 1)`.
        chunk_length: Optional int. Cuts the gradient of the state every that
            many timesteps, counted from the end (BPT3C; Howard & Ruder,
            2018, section 3.3).
        use_cpu_kernel: `"auto"` or bool, whether to use the project's
            TensorFlow kernel. `"auto"` does so where TensorFlow sees no GPU.
        **kwargs: Arguments of `keras.layers.LSTM`.

    Call arguments:
        sequences: Float tensor `(batch, timesteps, features)`.
        initial_state: Optional `[hidden, cell]`, each `(batch, units)`.
        mask: Optional bool tensor `(batch, timesteps)`.
        training: Bool, whether weights are dropped.
        recurrent_kernel: Optional, what `dropped_kernel` returned: several
            calls that make up one forward pass have one weight mask.

    Returns:
        `(outputs, hidden, cell)` of shapes `(batch, timesteps, units)` and
        twice `(batch, units)`.
    """

    def __init__(
        self,
        units,
        weight_dropout=0.0,
        chunk_length=None,
        use_cpu_kernel="auto",
        **kwargs,
    ):
        # The forget gate's bias starts at zero as in PyTorch, whose
        # models this one must be able to hold.
        kwargs.setdefault("unit_forget_bias", False)
        kwargs["return_sequences"] = True
        kwargs["return_state"] = True
        super().__init__(units, **kwargs)
        self.weight_dropout = weight_dropout
        self.chunk_length = chunk_length
        self.use_cpu_kernel = use_cpu_kernel
        self.weight_seed_generator = keras.random.SeedGenerator()

    def call(
        self,
        sequences,
        initial_state=None,
        mask=None,
        training=False,
        recurrent_kernel=None,
    ):
        if initial_state is None:
            initial_state = self.get_initial_state(ops.shape(sequences)[0])
        if recurrent_kernel is None:
            recurrent_kernel = self.dropped_kernel(training)
        if self._runs_on_cpu_kernel():
            # TensorFlow only, so imported only where TensorFlow runs.
            from ulmfit_tf.layers import lstm_kernel

            return lstm_kernel.lstm_sequence(
                ops.cast(sequences, self.compute_dtype),
                *initial_state,
                self.cell.kernel,
                recurrent_kernel,
                self.cell.bias,
                mask=mask,
                detach_every=self.chunk_length,
                training=training,
            )
        with self._recurrent_kernel_replaced(recurrent_kernel):
            return self._keras_loop(sequences, initial_state, mask, training)

    def dropped_kernel(self, training):
        """Returns the recurrent kernel, dropped in training by a new mask."""
        kernel = ops.cast(self.cell.recurrent_kernel, self.compute_dtype)
        if not training or not self.weight_dropout:
            return kernel
        return drop_weights(
            kernel, self.weight_dropout, self.weight_seed_generator
        )

    def _runs_on_cpu_kernel(self):
        if self.use_cpu_kernel != "auto":
            return self.use_cpu_kernel
        if keras.backend.backend() != "tensorflow":
            return False
        import tensorflow as tf

        return not tf.config.list_logical_devices("GPU")

    @contextlib.contextmanager
    def _recurrent_kernel_replaced(self, kernel):
        """Lets the cell, and so Keras' loops, see `kernel` for one call."""
        raw = self.cell.recurrent_kernel
        object.__setattr__(self.cell, "recurrent_kernel", kernel)
        try:
            yield
        finally:
            object.__setattr__(self.cell, "recurrent_kernel", raw)

    def _keras_loop(self, sequences, state, mask, training):
        """Runs Keras' loop over one chunk after another."""
        length, timesteps = self.chunk_length, sequences.shape[1]
        if length is None or (timesteps is not None and timesteps <= length):
            return self._keras_chunk(sequences, state, mask, training)
        batch, timesteps, features = ops.shape(sequences)
        if mask is None:
            mask = ops.ones((batch, timesteps), dtype="bool")
        # Keras' `scan` on TensorFlow takes a number of chunks that is only
        # known at run time with one input, so the mask joins as a feature;
        # and its outputs must be like what it carries, so they are carried.
        sequences = ops.cast(sequences, self.compute_dtype)
        mask = ops.cast(mask, self.compute_dtype)[:, :, None]
        inputs = ops.concatenate([sequences, mask], axis=2)
        # Chunks count from the end. What the first one lacks is padding on
        # its right, where cuDNN wants it.
        filling = -timesteps % length
        first = length - filling
        padding = ops.zeros((batch, filling, features + 1), inputs.dtype)
        inputs = ops.concatenate(
            [inputs[:, :first], padding, inputs[:, first:]], axis=1
        )
        chunks = (timesteps + filling) // length
        inputs = ops.reshape(inputs, (batch, chunks, length, features + 1))

        def step(carried, chunk):
            _, *state = carried
            results = self._keras_chunk(
                chunk[:, :, :-1],
                [ops.stop_gradient(s) for s in state],
                chunk[:, :, -1] > 0,
                training,
            )
            return list(results), list(results)

        outputs = ops.zeros((batch, length, self.units), self.compute_dtype)
        state = [ops.cast(s, self.compute_dtype) for s in state]
        (_, *state), (outputs, *_) = ops.scan(
            step, [outputs, *state], ops.swapaxes(inputs, 0, 1)
        )
        outputs = ops.reshape(
            ops.swapaxes(outputs, 0, 1), (batch, chunks * length, self.units)
        )
        outputs = ops.concatenate(
            [outputs[:, :first], outputs[:, length:]], axis=1
        )
        return outputs, *state

    def _keras_chunk(self, sequences, state, mask, training):
        if mask is not None:
            # cuDNN takes no empty row: let it compute one step of such a row
            # and put the old state back.
            occupied = ops.any(mask, axis=1)
            first = ops.arange(ops.shape(mask)[1]) == 0
            mask = ops.logical_or(
                mask,
                ops.logical_and(
                    first[None], ops.logical_not(occupied)[:, None]
                ),
            )
        _, outputs, new_state = self.inner_loop(
            sequences=ops.cast(sequences, self.compute_dtype),
            initial_state=[ops.cast(s, self.compute_dtype) for s in state],
            mask=mask,
            training=training,
        )
        if mask is not None:
            new_state = [
                ops.where(occupied[:, None], new, ops.cast(old, new.dtype))
                for new, old in zip(new_state, state, strict=True)
            ]
        return outputs, *new_state

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        batch, timesteps, _ = sequences_shape
        state = (batch, self.units)
        return (batch, timesteps, self.units), state, state

    def compute_mask(self, sequences, mask=None):
        return mask, None, None

    def get_config(self):
        config = super().get_config()
        for fixed in ("return_sequences", "return_state"):
            config.pop(fixed)
        return {
            **config,
            "weight_dropout": self.weight_dropout,
            "chunk_length": self.chunk_length,
            "use_cpu_kernel": self.use_cpu_kernel,
        }
