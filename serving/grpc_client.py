"""Asks a served classifier over gRPC; needs grpcio and the stubs alone."""

import array
import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import logging
import queue as queue_module
import random
import reprlib
import sys
import threading
import time

import grpc

from serving.loopback import is_loopback
from serving.stubs import predict_pb2, prediction_service_pb2_grpc

_FLOAT, _STRING = 1, 7
_FIRST_BACK_OFF_SECONDS = 0.1
_LONGEST_BACK_OFF_SECONDS = 5.0
# An attempt that is given less may end before the server is heard of.
_SHORT_SECONDS = 0.5
# Of gRPC's own attempts to connect, between which every request fails. Its
# default of two minutes would outlast a request's time.
_FIRST_RECONNECT_MS = 100
_LONGEST_RECONNECT_MS = 1000
# Without a new text for so long, what there is of a batch is sent.
_PAUSE_SECONDS = 0.1
# Callers oversleep a little, which is no queue.
_LATE_SECONDS = 0.05


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The answer for one text.

    Attributes:
        label: Str, the likeliest class; of a multi-label model all classes
            above their thresholds, joined, and empty if there is none.
        probabilities: Dict of float by class.
    """

    label: str
    probabilities: dict


class Client:
    """A connection to a model, usable from several threads.

    Args:
        target: Str, `HOST:PORT`.
        model: Str, the model's name.
        version: Optional int, by default the latest.
        timeout_seconds: Float, for a request with its retries.
        retries: Optional int, how often an `UNAVAILABLE` request is sent
            again; by default until less than 0.1 s of its time is left.
        credentials: Optional `grpc.ChannelCredentials`, for TLS.

    Raises:
        grpc.RpcError: From the methods, if a request fails in the end.

    Example:

    >>> with Client("localhost:8500", "questions") as client:
    ...     client.predict(["Who wrote Hamlet?"])[0].label
    'HUM'
    """

    def __init__(
        self,
        target,
        model,
        version=None,
        timeout_seconds=30.0,
        retries=None,
        credentials=None,
    ):
        options = [
            # gRPC's own limit of 4 MB is less than 10,000 answers.
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _LONGEST_RECONNECT_MS),
        ]
        if is_loopback(target.rpartition(":")[0].strip("[]")):
            # Whatever proxy the environment names does not reach this machine.
            options.append(("grpc.enable_http_proxy", 0))
        self._channel = (
            grpc.insecure_channel(target, options)
            if credentials is None
            else grpc.secure_channel(target, credentials, options)
        )
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._call = stub.Predict
        self._model = model
        self._version = version
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._has_told = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the connection."""
        self._channel.close()

    def predict(self, texts):
        """Returns the predictions of a batch of texts.

        Args:
            texts: Sequence of str or bytes.

        Returns:
            List of `Prediction`, in the order of `texts`.

        Raises:
            ValueError: If `texts` is a single text.
        """
        _check_several(texts)
        return self._predict(texts, _Sending())

    def _predict(self, texts, sending):
        if not texts:
            return []
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        tensor = request.inputs["text"]
        tensor.dtype = _STRING
        tensor.tensor_shape.dim.add(size=len(texts))
        tensor.string_val.extend(
            text.encode("utf-8") if isinstance(text, str) else text
            for text in texts
        )
        return _predictions(self._send(request, sending).outputs)

    def predict_stream(self, texts, batch_size=32, max_in_flight=4):
        """Yields the predictions of any number of texts.

        At most `max_in_flight + 2` batches are in memory, however long
        `texts` is. Where `texts` pauses, what there is of a batch is sent, and
        answers do not wait for more texts.

        Args:
            texts: Iterable of str or bytes.
            batch_size: Int, texts of a request.
            max_in_flight: Int, requests sent and not yet answered.

        Yields:
            `(text, Prediction)`, in the order of `texts`.

        Raises:
            ValueError: If `texts` is a single text.
        """
        _check_several(texts)
        waiting: collections.deque = collections.deque()
        sending = _Sending()
        with concurrent.futures.ThreadPoolExecutor(max_in_flight) as pool:
            try:
                for batch in _batches(texts, batch_size):
                    if batch:
                        answer = pool.submit(self._predict, batch, sending)
                        waiting.append((batch, answer))
                    while waiting and (
                        len(waiting) >= max_in_flight
                        or not batch
                        or waiting[0][1].done()
                    ):
                        of_answer, answer = waiting.popleft()
                        yield from zip(of_answer, answer.result(), strict=True)
                for batch, answer in waiting:
                    yield from zip(batch, answer.result(), strict=True)
            finally:
                for _, answer in waiting:
                    answer.cancel()
                sending.end()

    def _send(self, request, sending):
        deadline = time.monotonic() + self._timeout_seconds
        back_off = _FIRST_BACK_OFF_SECONDS
        unavailable = None
        for attempt in itertools.count():
            remaining = deadline - time.monotonic()
            try:
                with sending.call(
                    self._call, request, max(remaining, 0.001)
                ) as call:
                    return call.result()
            except grpc.RpcError as error:
                if (
                    unavailable is not None
                    and remaining < _SHORT_SECONDS
                    and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
                ):
                    # It had hardly time to find out the same.
                    raise unavailable from error
                remaining = deadline - time.monotonic()
                if (
                    error.code() != grpc.StatusCode.UNAVAILABLE
                    or attempt == self._retries
                    or sending.has_ended.is_set()
                    or remaining <= _FIRST_BACK_OFF_SECONDS
                ):
                    raise
                unavailable = error
                self._tell_once(error, remaining)
            # Jitter keeps clients from coming back all at once. Half of what
            # is left of the time is for the answer.
            wait = back_off * random.uniform(0.5, 1.5)
            sending.has_ended.wait(min(wait, remaining / 2))
            back_off = min(2 * back_off, _LONGEST_BACK_OFF_SECONDS)

    def _tell_once(self, error, seconds):
        if not self._has_told:
            self._has_told = True
            logging.info(
                "Not answered yet (%s). Trying again for up to %.0f seconds.",
                *(error.details(), seconds),
            )


class _Sending:
    """Calls that belong together, to end them before they are answered."""

    def __init__(self):
        self.has_ended = threading.Event()
        self._lock = threading.Lock()
        self._calls = set()

    @contextlib.contextmanager
    def call(self, method, request, timeout):
        """Starts a call and yields it."""
        with self._lock:
            call = method.future(request, timeout=timeout)
            self._calls.add(call)
            if self.has_ended.is_set():
                call.cancel()
        try:
            yield call
        finally:
            with self._lock:
                self._calls.discard(call)

    def end(self):
        """Cancels the calls that are not answered."""
        with self._lock:
            self.has_ended.set()
            for call in self._calls:
                call.cancel()


def _check_several(texts):
    """Raises for a text, whose characters would pass for texts."""
    if isinstance(texts, (str, bytes)):
        raise ValueError(
            "`texts` must be a sequence of str or bytes, one a text. Received: "
            f"{reprlib.repr(texts)}. For a single text, pass `[text]`."
        )


def _batches(texts, size):
    """Yields lists of at most `size` texts, as soon as they are there.

    Reads in a thread of its own: an empty list says that no text has come for
    a while.
    """
    queue: queue_module.Queue = queue_module.Queue(size)
    end = object()
    error, has_left = [], threading.Event()

    def put(item):
        while not has_left.is_set():
            with contextlib.suppress(queue_module.Full):
                return queue.put(item, timeout=1)

    def read():
        try:
            for text in texts:
                put(text)
                if has_left.is_set():
                    return
        except BaseException as raised:
            error.append(raised)
        put(end)

    threading.Thread(target=read, daemon=True).start()
    batch: list = []
    is_over = False
    try:
        while not is_over:
            try:
                text = queue.get(timeout=_PAUSE_SECONDS)
            except queue_module.Empty:
                yield batch
                batch = []
                continue
            is_over = text is end
            if not is_over:
                batch.append(text)
            if len(batch) == size or (is_over and batch):
                yield batch
                batch = []
    finally:
        has_left.set()
    if error:
        # What was sent before is answered first.
        yield []
        raise error[0]


def _predictions(outputs):
    labels = [label.decode("utf-8") for label in outputs["label"].string_val]
    classes = [name.decode("utf-8") for name in outputs["classes"].string_val]
    probabilities = _floats(outputs["probabilities"])
    width = len(classes) // max(len(labels), 1)
    return [
        Prediction(
            label,
            dict(
                zip(
                    classes[start : start + width],
                    probabilities[start : start + width],
                    strict=True,
                )
            ),
        )
        for label, start in zip(
            labels, range(0, len(classes), width), strict=True
        )
    ]


def _floats(tensor):
    """Values of a float tensor; TF Serving sends them either way."""
    if not tensor.tensor_content:
        return list(tensor.float_val)
    values = array.array("f", tensor.tensor_content)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def load_test(
    client, batches, seconds, concurrency, rate=None, arrivals="constant"
):
    """Sends requests for a while and measures how long each took.

    Args:
        client: `Client`.
        batches: Sequence of lists of texts, sent in turn.
        seconds: Float.
        concurrency: Int, requests under way at the same time.
        rate: Optional float, requests a second that arrive regardless of
            answers; a request's time then counts from its arrival. By
            default the next is sent when one is answered.
        arrivals: `"constant"` or `"poisson"`, the gaps between arrivals.

    Returns:
        Dict: `seconds` that it took, `requests`, `errors`,
        `texts_per_second`, `requests_per_second` and the latencies `p50_ms`,
        `p95_ms`, `p99_ms`. With a `rate` also `unsent`, what had arrived and
        was waiting for a caller in the end; its waits are among the
        latencies.
    """
    schedule = _schedule(rate, arrivals)
    lock = threading.Lock()
    latencies: list[float] = []
    errors: collections.Counter = collections.Counter()
    texts: list[int] = []
    unsent: list = []
    stop = threading.Event()
    started = time.monotonic()

    def work():
        while not stop.is_set():
            with lock:
                index, arrival = next(schedule)
            sent = time.monotonic()
            if rate is None:
                if sent - started >= seconds:
                    return
            else:
                if arrival >= seconds:
                    return
                sent = started + arrival
                stop.wait(max(0.0, sent - time.monotonic()))
                now = time.monotonic()
                if now - started >= seconds and now - sent > _LATE_SECONDS:
                    # Left out, it would make the server look quick.
                    unsent.append(now - sent)
                    continue
            batch = batches[index % len(batches)]
            try:
                client.predict(batch)
            except grpc.RpcError as error:
                errors[error.code().name] += 1
                continue
            latencies.append(time.monotonic() - sent)
            texts.append(len(batch))

    threads = [
        threading.Thread(target=work, daemon=True) for _ in range(concurrency)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        stop.set()
    # At a rate, the callers go home when nothing more will arrive.
    elapsed = max(seconds, time.monotonic() - started)
    return {
        "requests": len(latencies),
        "errors": dict(errors),
        **({} if rate is None else {"unsent": len(unsent)}),
        "seconds": round(elapsed, 2),
        "requests_per_second": round(len(latencies) / elapsed, 1),
        "texts_per_second": round(sum(texts) / elapsed, 1),
        **{
            f"p{percent}_ms": _percentile_ms(latencies + unsent, percent)
            for percent in (50, 95, 99)
        },
    }


def _schedule(rate, arrivals):
    """Yields the number of each request and the second that it arrives."""
    arrival = 0.0
    for index in itertools.count():
        yield index, arrival
        if rate is None:
            continue
        poisson = arrivals == "poisson"
        arrival += random.expovariate(rate) if poisson else 1 / rate


def _percentile_ms(latencies, percent):
    if not latencies:
        return None
    ordered = sorted(latencies)
    index = min(len(ordered) - 1, len(ordered) * percent // 100)
    return round(ordered[index] * 1000, 3)
