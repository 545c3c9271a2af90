"""Counters and histograms under TF Serving's names, for Prometheus."""

import bisect
import collections
import threading

_REQUESTS = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency"
_RUNTIME = ":tensorflow:serving:runtime_latency"
_LOADS = ":tensorflow:cc:saved_model:load_attempt_count"
# Microseconds, as TF Serving's exponential buckets: 10 * 1.8^k.
_BOUNDS = [10 * 1.8**k for k in range(33)]


class Metrics:
    """What a server counts; thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._requests: collections.Counter = collections.Counter()
        self._histograms = {}

    def count_request(self, model_name, api, entrypoint, status, seconds):
        """Counts an answered request and how long it took.

        Args:
            model_name: Str.
            api: `"Predict"` or `"Classify"`.
            entrypoint: `"GRPC"` or `"REST"`.
            status: Str, name of a status code.
            seconds: Float.
        """
        with self._lock:
            self._requests[model_name, status] += 1
        labels = {"model_name": model_name, "API": api}
        self._observe(_LATENCY, {**labels, "entrypoint": entrypoint}, seconds)

    def count_refused(self):
        """Counts a call that was refused before it was read."""
        with self._lock:
            self._requests["", "UNAVAILABLE"] += 1

    def observe_runtime(self, model_name, api, seconds):
        """Counts how long the model itself took."""
        labels = {"model_name": model_name, "API": api, "runtime": "TF1"}
        self._observe(_RUNTIME, labels, seconds)

    def _observe(self, metric, labels, seconds):
        micros, labels = seconds * 1e6, tuple(labels.items())
        with self._lock:
            histogram = self._histograms.setdefault(
                (metric, labels), [[0] * (len(_BOUNDS) + 1), 0.0]
            )
            histogram[0][bisect.bisect_left(_BOUNDS, micros)] += 1
            histogram[1] += micros

    def text(self, load_counts):
        """Returns Prometheus' text format.

        Args:
            load_counts: Dict of int by `(path of a version, status)`.
        """
        lines = [f"# TYPE {_REQUESTS} counter"]
        with self._lock:
            for (model, status), count in self._requests.items():
                labels = _labels(model_name=model, status=status)
                lines.append(f"{_REQUESTS}{labels} {count}")
            lines.append(f"# TYPE {_LOADS} counter")
            for (path, status), count in load_counts.items():
                labels = _labels(model_path=path, status=status)
                lines.append(f"{_LOADS}{labels} {count}")
            for metric in (_LATENCY, _RUNTIME):
                lines.append(f"# TYPE {metric} histogram")
                for (name, labels), histogram in self._histograms.items():
                    if name == metric:
                        lines += _histogram_lines(
                            name, dict(labels), *histogram
                        )
        return "\n".join(lines) + "\n"


def _histogram_lines(name, of_histogram, counts, total):
    cumulative = 0
    for bound, count in zip([*_BOUNDS, "+Inf"], counts, strict=True):
        cumulative += count
        le = bound if bound == "+Inf" else f"{bound:g}"
        labels = _labels(**of_histogram, le=le)
        yield f"{name}_bucket{labels} {cumulative}"
    labels = _labels(**of_histogram)
    yield f"{name}_sum{labels} {total:g}"
    yield f"{name}_count{labels} {cumulative}"


def _labels(**labels):
    quoted = (
        name + '="' + _escaped(value) + '"' for name, value in labels.items()
    )
    return "{" + ",".join(quoted) + "}"


def _escaped(value):
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
