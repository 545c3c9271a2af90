"""TF Serving's protocol in one process, for development."""

import dataclasses
import threading

from serving import command_line, tls
from serving.batching import BatchingOptions

_MESSAGE_BYTES = 64 << 20
_GRACE_SECONDS = 30
# Beyond the grace, for gRPC to end what it cancels.
_CANCEL_SECONDS = 5
# Threads of predictions by default, and at most by default: Python's cost.
_WORKERS = 16
_MOST_WORKERS = 256


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """What a `Server` listens to and how much it takes.

    Attributes:
        host: Str, address to listen on.
        port: Int, of gRPC; 0 for a free one.
        rest_port: Int, of REST; 0 for a free one; `None` for no REST.
        rest_timeout_seconds: Float, after which a REST request is given up,
            if it is a long one; gRPC's bring their own deadline.
        poll_seconds: Float, between looks for new versions; 0 for one look
            at the start, negative for none.
        max_message_bytes: Int, of a request.
        max_rows: Int, texts in a request.
        max_workers: Int, predictions over gRPC answered at the same time;
            three times as many may wait. `None` for as many as it needs.
        intra_op_threads: Int, threads of one operation, see `SessionModel`.
            Requests share the processor better than operations do.
        inter_op_threads: Int, threads of a long request.
        batching: `BatchingOptions`, or `None` for none.
        metrics_path: Str, Prometheus' path on the REST port, or `None`.
        tls: `SSLConfig` message, or `None` for plain text.
    """

    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int | None = None
    rest_timeout_seconds: float = 30.0
    poll_seconds: float = 1.0
    max_message_bytes: int = _MESSAGE_BYTES
    max_rows: int = 65536
    max_workers: int | None = None
    intra_op_threads: int = 1
    inter_op_threads: int = 0
    batching: BatchingOptions | None = None
    metrics_path: str | None = None
    tls: object = None

    def workers(self):
        """Returns the number of threads for predictions.

        A request waits in a thread while its batch fills. TF Serving advises
        two full batches of clients, one computed while the other fills.
        """
        if self.max_workers is not None:
            return self.max_workers
        if self.batching is None:
            return _WORKERS
        return min(
            max(_WORKERS, 2 * self.batching.max_batch_size), _MOST_WORKERS
        )


class Server:
    """Serves models until it is stopped.

    Args:
        sources: Sequence of `serving.model_source.ModelSource`.
        options: `ServerOptions`.
    """

    def __init__(self, sources, options):
        # TensorFlow takes seconds to import; a mistake is told before.
        from serving.batching import BatchedModel
        from serving.metrics import Metrics
        from serving.predictor import Predictor
        from serving.session_model import SessionModel
        from serving.versions import VersionManager

        def make_model(directory):
            model = SessionModel(
                directory, options.intra_op_threads, options.inter_op_threads
            )
            if options.batching is None:
                return model
            return BatchedModel(model, options.batching)

        # One of its own: nobody asked, so nothing is counted, and what clients
        # may not send is no limit of what came with the version.
        warming = Predictor(
            None,
            max(options.max_rows, ServerOptions.max_rows),
            max_bytes=max(options.max_message_bytes, _MESSAGE_BYTES),
        )

        def warm_up(model, record):
            # Each record would be a batch alone, and wait its whole timeout.
            is_batched = options.batching is not None
            warming.replay(model.unbatched if is_batched else model, record)

        self._options = options
        self._metrics = Metrics()
        self._versions = VersionManager(sources, make_model, warm_up=warm_up)
        self._predictor = Predictor(
            self._versions,
            options.max_rows,
            self._metrics.observe_runtime,
            options.max_message_bytes,
        )
        self._draining = threading.Event()
        self._grpc = None
        self._workers = None
        self._health = None
        self._rest = None
        self.port = None
        self.rest_port = None

    def interrupt(self):
        """Makes `start` end as soon as it can, in whichever thread it runs."""
        self._draining.set()
        self._versions.interrupt()

    def start(self):
        """Loads the models, then takes requests, unless it is interrupted.

        Raises:
            UserError: If a port is taken.
        """
        try:
            self._versions.start(self._options.poll_seconds)
            if self._draining.is_set():
                return
            self._start_grpc()
            if self._options.rest_port is not None:
                self._start_rest()
        except BaseException:
            # What has been started would go on.
            self.stop(0)
            raise

    def stop(self, grace_seconds=_GRACE_SECONDS):
        """Finishes the requests under way and frees everything.

        It may be called again, with a shorter grace.
        """
        self._draining.set()
        if self._health is not None:
            self._health.close()
        # Both at the same time: this one returns at once.
        stopped = self._grpc and self._grpc.stop(grace_seconds)
        if self._workers is not None:
            self._workers.close()
        if self._rest is not None:
            self._rest.stop(grace_seconds)
        if stopped is not None:
            # It never comes if gRPC's own thread has died.
            stopped.wait(grace_seconds + _CANCEL_SECONDS)
        self._versions.stop()

    def _start_grpc(self):
        import grpc
        from tensorflow_serving.apis import (
            model_service_pb2_grpc,
            prediction_service_pb2_grpc,
        )

        from serving import grpc_services
        from serving.health import HealthService
        from serving.workers import Workers

        options = self._options
        self._workers = Workers(
            grpc_services.PREDICTIONS,
            options.workers(),
            self._metrics.count_refused,
        )
        self._grpc = grpc.server(
            self._workers.threads,
            interceptors=[self._workers],
            options=[
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        services = (self._predictor, self._metrics)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            grpc_services.PredictionService(*services), self._grpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            grpc_services.ModelService(*services), self._grpc
        )
        self._health = HealthService(self._is_ready)
        self._grpc.add_generic_rpc_handlers([self._health.handler()])
        where = address(options.host, options.port)
        try:
            if options.tls is None:
                self.port = self._grpc.add_insecure_port(where)
            else:
                self.port = self._grpc.add_secure_port(
                    where, tls.grpc_credentials(options.tls)
                )
        except RuntimeError as error:
            raise command_line.UserError(
                f"`--port {options.port}`: {error}. Choose another port, or 0 "
                "for a free one."
            ) from error
        self._grpc.start()

    def _start_rest(self):
        from serving.rest import RestApi
        from serving.rest_server import RestServer

        options = self._options
        api = RestApi(
            self._predictor,
            self._metrics,
            options.metrics_path,
            options.rest_timeout_seconds,
        )
        try:
            rest = RestServer(
                api,
                (options.host, options.rest_port),
                options.max_message_bytes,
                None if options.tls is None else tls.ssl_context(options.tls),
            )
        except OSError as error:
            raise command_line.UserError(
                f"`--rest-api-port {options.rest_port}`: {error}. Choose "
                "another port, or 0 for a free one."
            ) from error
        rest.start()
        self._rest = rest
        self.rest_port = rest.port

    def _is_ready(self):
        return self._versions.is_ready() and not self._draining.is_set()


def address(host, port):
    """Returns what a client connects to; IPv6 needs brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
