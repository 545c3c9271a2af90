"""Mixed load while versions are swapped.

Short by default. As a release check:

    SOAK_SECONDS=600 pytest -s tests/serving/test_soak.py
"""

import collections
import contextlib
import itertools
import json
import os
import pathlib
import random
import shutil
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.saved_model import export_classifier

pytestmark = [pytest.mark.slow, pytest.mark.serving]

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", 60))
SWAP_SECONDS = min(20.0, SOAK_SECONDS / 4)
CLIENTS = 8
# Of the size of a small model in use: what a version leaves behind is seen.
SETTINGS = {
    "architecture": {
        "embedding_units": 256,
        "hidden_units": 512,
        "num_layers": 3,
    },
    "head_units": 50,
    "chunk_length": 70,
    "pooled_length": 1400,
}
TEXTS = [
    "What is the capital of France?",
    "who wrote this",
    "",
    "one sentence after another. " * 40,
    "how many would not see that film again?",
    "naïve 東京",
]


def _resident_bytes(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (x for x in status.splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


class _Load:
    """Clients that ask in every way and check every answer.

    Version `v` must answer as `expected[v % 2]` says.
    """

    def __init__(self, addresses, expected):
        self._expected = expected
        self._rest = addresses["rest"]
        self._channel = grpc.insecure_channel(addresses["grpc"])
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._stop = threading.Event()
        # Set to the version that is published, before the one before it goes.
        self.newest = 1
        self.answers = collections.Counter()
        self.versions = set()
        self.wrong = []
        self._threads = [
            threading.Thread(target=self._ask_until_stopped, args=(seed,))
            for seed in range(CLIENTS)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._channel.close()

    def _ask_until_stopped(self, seed):
        rng = random.Random(seed)
        ways = [
            *(self._predict, self._predict, self._classify),
            *(self._rest_call, self._rest_call_of_a_version),
        ]
        while not self._stop.is_set():
            indices = rng.choices(range(len(TEXTS)), k=rng.choice([1, 1, 4]))
            way = rng.choice(ways)
            try:
                version, answer = way([TEXTS[i] for i in indices])
                self._check(way.__name__, version, indices, answer)
            except Exception as error:
                self.wrong.append(f"{way.__name__}: {error!r}")

    def _check(self, way, version, indices, answer):
        allowed = (0, 1) if version is None else (version % 2,)
        answer = np.array(answer)
        if not any(
            np.allclose(answer, self._expected[kind][indices], atol=1e-5)
            for kind in allowed
        ):
            self.wrong.append(f"{way} of version {version}: {answer}")
        self.versions.add(version)
        self.answers[way] += 1

    def _predict(self, texts):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "soak"
        request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts))
        response = self._stub.Predict(request, timeout=30)
        return (
            response.model_spec.version.value,
            tf.make_ndarray(response.outputs["probabilities"]),
        )

    def _classify(self, texts):
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "soak"
        request.model_spec.signature_name = "classify"
        for text in texts:
            example = request.input.example_list.examples.add()
            feature = example.features.feature["text"]
            feature.bytes_list.value.append(text.encode())
        response = self._stub.Classify(request, timeout=30)
        return response.model_spec.version.value, [
            [each.score for each in row.classes]
            for row in response.result.classifications
        ]

    def _rest_call(self, texts):
        return None, self._ask_rest("soak", texts)

    def _rest_call_of_a_version(self, texts):
        """Asks for a version by its number, and so knows who must answer."""
        version = max(filter(None, self.versions), default=1)
        try:
            return version, self._ask_rest(f"soak/versions/{version}", texts)
        except urllib.error.HTTPError as error:
            # It may be gone, but only for a newer one.
            if error.code != 404 or version == self.newest:
                raise
            return self._rest_call(texts)

    def _ask_rest(self, model, texts):
        body = json.dumps({"instances": texts}).encode()
        url = f"http://{self._rest}/v1/models/{model}:predict"
        with urllib.request.urlopen(url, body, timeout=30) as response:
            document = json.load(response)
        return [row["probabilities"] for row in document["predictions"]]


@pytest.fixture(scope="module")
def exports(make_classifier, tmp_path_factory):
    """`(directory of a version, expected answers)` of two models."""
    made = []
    for seed in (0, 1):
        classifier = make_classifier(
            ("forward",), seed=seed, settings=SETTINGS, spread=0.05
        )
        directory = tmp_path_factory.mktemp("export")
        version = export_classifier(classifier, directory)
        size = sum(f.stat().st_size for f in version.rglob("*") if f.is_file())
        assert size > 15e6
        made.append((version, classifier.predict(TEXTS)))
    # An answer of the wrong version must not pass for one of the right.
    assert np.abs(made[0][1] - made[1][1]).max(axis=1).min() > 1e-3
    return made


def _publish(source, base_path, version):
    beside = base_path / f".copy-{version}"
    shutil.copytree(source, beside)
    beside.rename(base_path / str(version))


def _check_flat(resident):
    """Compares the last quarter of the swaps' periods with the first.

    While a version is loaded there are two, for longer on a busy machine, so
    what is looked at is the least of each period, when there was one, and
    the most. The former is the same in each period; the latter also depends
    on what is asked for during a load, so only its mean is compared. Ten
    minutes are warmed up after one of them; a shorter run is after a third,
    but not as well.
    """
    long = SOAK_SECONDS >= 600
    warm_up, growth = (60, 1.05) if long else (SOAK_SECONDS / 3, 1.1)
    periods = collections.defaultdict(list)
    for second, size in resident:
        start = second // SWAP_SECONDS * SWAP_SECONDS
        # The last may have been cut short.
        if warm_up <= start <= SOAK_SECONDS - SWAP_SECONDS:
            periods[start].append(size)
    assert len(periods) > 1
    least, most = (
        [level(period) for period in periods.values()] for level in (min, max)
    )
    print("MB, least:", [round(b / 1e6) for b in least])
    print("MB, most:", [round(b / 1e6) for b in most])
    assert max(least) <= growth * least[0]
    quarter = max(1, len(most) // 4)
    assert np.mean(most[-quarter:]) <= growth * np.mean(most[:quarter])


@pytest.mark.parametrize("growth, flat", [(0.0, True), (2.0, False)])
def test_growth_would_be_noticed(growth, flat):
    # At first it doubles in any case.
    seconds = np.arange(0, SOAK_SECONDS, 0.5)
    warm = np.minimum(1, seconds / min(10, SOAK_SECONDS / 6))
    resident = 1e8 * (1 + warm + growth * seconds / SOAK_SECONDS)
    with contextlib.nullcontext() if flat else pytest.raises(AssertionError):
        _check_flat(list(zip(seconds, resident, strict=True)))


def test_no_request_fails_while_versions_are_swapped(
    exports, start_server, tmp_path
):
    base_path = tmp_path / "soak"
    base_path.mkdir()
    _publish(exports[1][0], base_path, 1)
    batching = tmp_path / "batching.config"
    batching.write_text("batch_timeout_micros { value: 1000 }")
    process, addresses = start_server(
        *("--model-base-path", str(base_path), "--rest-api-port", "0"),
        *("--enable-batching", "--batching-parameters-file", str(batching)),
    )
    expected = [probabilities for _, probabilities in exports]
    resident = []
    versions = itertools.count(2)
    started = time.monotonic()
    next_swap = started + SWAP_SECONDS
    with _Load(addresses, expected) as load:
        while (now := time.monotonic()) < started + SOAK_SECONDS:
            if now >= next_swap:
                version = next(versions)
                load.newest = version
                _publish(exports[version % 2][0], base_path, version)
                shutil.rmtree(base_path / str(version - 1))
                next_swap += SWAP_SECONDS
            resident.append((now - started, _resident_bytes(process)))
            time.sleep(0.5)
    print(
        f"{sum(load.answers.values())} answers of versions "
        f"{sorted(v for v in load.versions if v)}, {dict(load.answers)}"
    )
    print("MB:", [round(b / 1e6) for _, b in resident[:: len(resident) // 20]])
    assert load.wrong == []
    assert len(load.versions) > 3
    _check_flat(resident)
    process.terminate()
    assert process.wait(60) == 0
