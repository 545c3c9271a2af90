"""A SavedModel in a session: the path that TF Serving takes."""

import dataclasses
import pathlib

import tensorflow as tf

# Registers TF Text's operations, which the stock server links.
import tensorflow_text  # noqa: F401

# Bytes of text that are computed in the thread of the request.
_SHORT_BYTES = 8192
# A TFRecord file of PredictionLog that TF Serving replays on loading.
WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"


@dataclasses.dataclass(frozen=True)
class Signature:
    """One signature of a SavedModel.

    Attributes:
        method_name: Str, TF Serving's name of the call.
        inputs: Dict of `TensorInfo` by name.
        outputs: Dict of `TensorInfo` by name.
    """

    method_name: str
    inputs: dict
    outputs: dict


class SessionModel:
    """Loads a SavedModel without Keras, and without its Python objects.

    TF Serving reads the graph of the `serve` tag, restores its variables and
    runs its signatures by tensor name, which `tf.saved_model.load` does not.
    Thread-safe.

    A request of a few short texts is computed in the thread that brings it:
    an LSTM step is some twenty small operations, and handing each to another
    thread costs more than it gains. Longer ones run in TensorFlow's own
    threads, where a run can be given up.

    Args:
        directory: Path of the SavedModel.
        intra_op_threads: Int, threads of one operation; 0 for TensorFlow's
            choice. The first session of a process decides for all.
        inter_op_threads: Int, threads that operations of long requests are
            spread over; 0 for TensorFlow's choice.
    """

    def __init__(self, directory, intra_op_threads=0, inter_op_threads=0):
        self.directory = pathlib.Path(directory)
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
        )
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(
                self._session,
                [tf.saved_model.SERVING],
                str(directory),
            )
        self.meta_graph = meta_graph
        self.signatures = {
            name: Signature(
                definition.method_name,
                dict(definition.inputs),
                dict(definition.outputs),
            )
            for name, definition in meta_graph.signature_def.items()
            # TF Serving's loader leaves out what has no method.
            if definition.method_name
        }
        self._callables = {}

    def run(
        self, signature_name, inputs, output_names=None, timeout_seconds=None
    ):
        """Runs a signature.

        Args:
            signature_name: Str.
            inputs: Dict of arrays by the signature's input names.
            output_names: Optional sequence of str, by default all outputs.
            timeout_seconds: Optional float, after which the run is given up,
                if it is a long one.

        Returns:
            Dict of NumPy arrays by output name.

        Raises:
            tf.errors.DeadlineExceededError: If it took too long.
        """
        signature = self.signatures[signature_name]
        names = tuple(output_names or sorted(signature.outputs))
        feeds = sorted(signature.inputs)
        key = (signature_name, names)
        if key not in self._callables:
            self._callables[key] = self._session.make_callable(
                [signature.outputs[name].name for name in names],
                [signature.inputs[name].name for name in feeds],
                accept_options=True,
            )
        options = tf.compat.v1.RunOptions()
        if _num_bytes(inputs) <= _SHORT_BYTES:
            options.inter_op_thread_pool = -1
        elif timeout_seconds is not None:
            # Zero would mean no limit.
            options.timeout_in_ms = max(1, int(timeout_seconds * 1000))
        values = self._callables[key](
            *(inputs[name] for name in feeds), options=options
        )
        return dict(zip(names, values, strict=True))

    def close(self):
        """Frees the session and cancels what runs in it."""
        self._callables.clear()
        self._session.close()


def _num_bytes(inputs):
    """Bytes of all strings; of numbers, that of their array."""
    return sum(
        sum(map(len, array.flat)) if array.dtype == object else array.nbytes
        for array in inputs.values()
    )
