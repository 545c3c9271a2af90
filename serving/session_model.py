"""A SavedModel in a session: the path that TF Serving takes."""

import dataclasses
import functools
import pathlib
import threading

import grpc
import tensorflow as tf

# Registers TF Text's operations, which the stock server links.
import tensorflow_text  # noqa: F401

from serving.status import ServingError
from serving.waiting import Waiter

# Bytes of text that are computed in the thread of the request, and what each
# text counts beside its own: it has marks, and a row in every product.
_SHORT_BYTES = 8192
_ROW_BYTES = 16
# Long requests computed at the same time. Those that nobody waits for any
# more are among them, so there may be more than there are workers.
_MOST_LONG_RUNS = 128
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
    threads, where a deadline ends them. One whose client has left without a
    deadline cannot be stopped; nobody waits for it any more.

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
        self._long_runs = threading.BoundedSemaphore(_MOST_LONG_RUNS)

    def run(self, signature_name, inputs, output_names=None, waiter=None):
        """Runs a signature.

        Args:
            signature_name: Str.
            inputs: Dict of arrays by the signature's input names.
            output_names: Optional sequence of str, by default all outputs.
            waiter: Optional `Waiter`; if it is gone a long run is given up.

        Returns:
            Dict of NumPy arrays by output name.

        Raises:
            ServingError: If nobody waits any more, or there are too many
                long runs.
            tf.errors.DeadlineExceededError: If it took too long.
        """
        waiter = waiter or Waiter()
        waiter.check()
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
        call = functools.partial(
            self._callables[key],
            *(inputs[name] for name in feeds),
            options=options,
        )
        if _num_bytes(inputs) <= _SHORT_BYTES:
            options.inter_op_thread_pool = -1
            values = call()
        else:
            seconds = waiter.remaining()
            if seconds is not None:
                # Zero would mean no limit.
                options.timeout_in_ms = max(1, int(seconds * 1000))
            if not self._long_runs.acquire(blocking=False):
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE,
                    "Too many long requests are computed. Send it again later.",
                )
            # It counts until it ends, even if nobody waits for it any more.
            values = waiter.wait_for(call, self._long_runs.release)
        return dict(zip(names, values, strict=True))

    def close(self):
        """Frees the session and cancels what runs in it."""
        self._callables.clear()
        self._session.close()


def _num_bytes(inputs):
    """Bytes of all strings and rows; of numbers, that of their array."""
    return sum(
        sum(map(len, array.flat)) + _ROW_BYTES * array.size
        if array.dtype == object
        else array.nbytes
        for array in inputs.values()
    )
