"""The client beside a server that fails when it is told to."""

import concurrent.futures
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import client as command
from serving import grpc_client
from serving.command_line import UserError
from serving.grpc_client import Client, load_test

pytestmark = pytest.mark.serving


class _Scripted(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers the length of a text; fails as often as it is told."""

    def __init__(self):
        self.failures = []
        self.delay = 0.0
        self.requests = []
        self.under_way = 0
        self.most_under_way = 0
        self.lock = threading.Lock()

    def Predict(self, request, context):
        with self.lock:
            self.requests.append(request)
            failure = self.failures.pop(0) if self.failures else None
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            time.sleep(self.delay)
            if failure is not None:
                context.abort(failure, "as told")
            texts = request.inputs["text"].string_val
            response = predict_pb2.PredictResponse()
            outputs = {
                "label": [str(len(text)) for text in texts],
                "classes": [["a", "b"]] * len(texts),
                "probabilities": [[len(text), 0.5] for text in texts],
            }
            for name, value in outputs.items():
                dtype = tf.float32 if name == "probabilities" else tf.string
                tensor = tf.make_tensor_proto(value, dtype)
                response.outputs[name].CopyFrom(tensor)
            return response
        finally:
            with self.lock:
                self.under_way -= 1


def _started(service, port=0):
    """Returns `(server, port)`; a port that is taken raises."""
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(16),
        options=[("grpc.so_reuseport", 0)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        service, server
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


@pytest.fixture
def scripted():
    service = _Scripted()
    server, port = _started(service)
    service.target = f"127.0.0.1:{port}"
    yield service
    server.stop(None)


@pytest.fixture
def client(scripted):
    with Client(scripted.target, "m", version=3, timeout_seconds=20) as client:
        yield client


def test_a_request_names_model_and_version(client, scripted):
    (first, second) = client.predict(["abc", b"\xff"])
    assert (first.label, second.label) == ("3", "1")
    assert first.probabilities == {"a": 3.0, "b": 0.5}
    (request,) = scripted.requests
    assert request.model_spec.name == "m"
    assert request.model_spec.version.value == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_lies_between_this_machine_and_itself(
    scripted, host, monkeypatch
):
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        # Nobody listens there.
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    target = scripted.target.replace("127.0.0.1", host)
    with Client(target, "m", timeout_seconds=5.0) as client:
        assert client.predict(["abc"])[0].label == "3"


def test_an_empty_batch_sends_nothing(client, scripted):
    assert client.predict([]) == []
    assert scripted.requests == []


@pytest.mark.parametrize("text", ["Who wrote it?", b"Who wrote it?"])
def test_a_single_text_is_refused(client, scripted, text):
    """Its characters would be taken for texts."""
    with pytest.raises(ValueError, match=r"Received: b?'Who wrote it.*\[text"):
        client.predict(text)
    with pytest.raises(ValueError, match=r"Received: b?'Who wrote it.*\[text"):
        next(client.predict_stream(text))
    assert scripted.requests == []


def test_unavailable_is_sent_again(client, scripted):
    scripted.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    assert client.predict(["abcd"])[0].label == "4"
    assert len(scripted.requests) == 3


def test_retries_come_to_an_end(scripted):
    scripted.failures = [grpc.StatusCode.UNAVAILABLE] * 9
    with (
        Client(scripted.target, "m", retries=1) as client,
        pytest.raises(grpc.RpcError),
    ):
        client.predict(["a"])
    assert len(scripted.requests) == 2


def test_a_deadline_ends_a_request(scripted):
    scripted.delay = 2.0
    started = time.monotonic()
    with (
        Client(scripted.target, "m", timeout_seconds=0.3) as client,
        pytest.raises(grpc.RpcError) as raised,
    ):
        client.predict(["a"])
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 1.5
    assert len(scripted.requests) == 1


def test_standard_input_is_read_line_by_line(scripted):
    result = subprocess.run(
        [sys.executable, "-m", "serving.client", "--target", scripted.target]
        + ["--model", "m", "--file", "-"],
        input=b"one\nthree\r\n\xff\n",
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr
    lines = map(json.loads, result.stdout.splitlines())
    assert [line["label"] for line in lines] == ["3", "5", "1"]


def test_other_errors_are_not_sent_again(client, scripted):
    scripted.failures = [grpc.StatusCode.INVALID_ARGUMENT]
    with pytest.raises(grpc.RpcError):
        client.predict(["a"])
    assert len(scripted.requests) == 1


def test_a_stream_keeps_order_and_bounds(client, scripted):
    read = []

    def texts():
        for length in range(500):
            read.append(length)
            yield "x" * length

    stream = client.predict_stream(texts(), batch_size=7, max_in_flight=3)
    text, prediction = next(stream)
    assert (text, prediction.label) == ("", "0")
    # No more was read than is in flight, and the next batch.
    assert len(read) <= 7 * 5
    labels = [int(prediction.label) for _, prediction in stream]
    assert labels == list(range(1, 500))
    assert scripted.most_under_way <= 3


def test_answers_do_not_wait_for_more_texts(client):
    """As in `tail -f log | python -m serving.client --file -`."""
    release = threading.Event()

    def texts():
        yield from ("a", "bb", "ccc")
        release.wait(30)
        yield "dddd"

    stream = client.predict_stream(texts(), batch_size=32)
    started = time.monotonic()
    assert [next(stream)[1].label for _ in range(3)] == ["1", "2", "3"]
    assert time.monotonic() - started < 10
    release.set()
    assert [prediction.label for _, prediction in stream] == ["4"]


def test_a_stream_that_is_left_waits_for_no_answer(client, scripted):
    stream = client.predict_stream(["a"] * 40, batch_size=1, max_in_flight=2)
    next(stream)
    scripted.delay = 15.0
    time.sleep(0.2)
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < 5


def test_an_error_of_the_texts_comes_after_their_answers(client):
    def texts():
        yield "a"
        raise ValueError("as told")

    stream = client.predict_stream(texts(), batch_size=4)
    assert next(stream)[1].label == "1"
    with pytest.raises(ValueError, match="as told"):
        next(stream)


def test_by_default_a_server_may_start_again_within_the_time(scripted):
    scripted.failures = [grpc.StatusCode.UNAVAILABLE] * 6
    with Client(scripted.target, "m", timeout_seconds=60) as client:
        assert client.predict(["ab"])[0].label == "2"
    assert len(scripted.requests) == 7


@pytest.mark.parametrize(
    "away, timeout",
    [(3.0, 6.0), pytest.param(8.0, 12.0, marks=pytest.mark.slow)],
)
def test_a_server_may_be_away_for_most_of_the_time(away, timeout):
    """Neither the client nor gRPC pauses until it is too late."""
    service = _Scripted()
    server, port = _started(service)
    with Client(f"127.0.0.1:{port}", "m", timeout_seconds=timeout) as client:
        client.predict(["a"])
        server.stop(None).wait()
        back = []
        timer = threading.Timer(
            away, lambda: back.append(_started(service, port))
        )
        started = time.monotonic()
        timer.start()
        try:
            assert client.predict(["abc"])[0].label == "3"
            assert away <= time.monotonic() - started < timeout
        finally:
            timer.join()
            for server, _ in back:
                server.stop(None)


def test_a_server_that_is_away_is_tried_often():
    """Left to itself, gRPC would connect at 0, 1 and 2.6 seconds."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up():
            while True:
                try:
                    listening.accept()[0].close()
                except OSError:
                    return
                connections.append(time.monotonic())

        thread = threading.Thread(target=hang_up)
        thread.start()
        target = f"127.0.0.1:{listening.getsockname()[1]}"
        with (
            Client(target, "m", timeout_seconds=3.0) as client,
            pytest.raises(grpc.RpcError),
        ):
            client.predict(["a"])
        # Ends a call of `accept`, which closing would not.
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert len(connections) >= 4


def test_a_request_is_sent_again_until_its_time_is_up(scripted):
    scripted.failures = [grpc.StatusCode.UNAVAILABLE] * 99
    started = time.monotonic()
    with (
        Client(scripted.target, "m", timeout_seconds=2.0) as client,
        pytest.raises(grpc.RpcError) as raised,
    ):
        client.predict(["a"])
    # It says what was wrong, not that the time is up.
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert 1.8 < time.monotonic() - started < 3
    # Not in a hurry, either.
    assert len(scripted.requests) < 15


def test_a_last_attempt_cut_short_does_not_hide_what_was_wrong(scripted):
    scripted.failures = [grpc.StatusCode.UNAVAILABLE]
    # The second attempt has half a second, and is given no answer.
    scripted.delay = 1.0
    with (
        Client(scripted.target, "m", timeout_seconds=1.5) as client,
        pytest.raises(grpc.RpcError) as raised,
    ):
        client.predict(["a"])
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_queue_in_the_end_is_not_left_out(client, scripted):
    """Fifty arrive in a second, and three are answered in that time."""
    scripted.delay = 0.4
    figures = load_test(client, [["a"]], 1.0, concurrency=1, rate=50)
    assert figures["requests"] + figures["unsent"] == 50
    assert figures["unsent"] >= 40
    # They have waited for up to a second.
    assert figures["p50_ms"] > 300


def test_texts_of_any_language_on_any_terminal(scripted):
    result = subprocess.run(
        [sys.executable, "-m", "serving.client", "--target", scripted.target]
        + ["--model", "m", "\u6771\u4eac"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["text"] == "\u6771\u4eac"


def test_a_load_test_reports(client):
    figures = load_test(client, [["a"], ["b", "c"]], 0.5, concurrency=2)
    assert figures["requests"] > 2
    assert figures["errors"] == {}
    assert figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    assert figures["texts_per_second"] > figures["requests_per_second"]


class _Clock:
    """A client whose requests take known times, on a clock of its own."""

    def __init__(self, latencies):
        self._latencies = iter(latencies)
        self._now = 1000.0

    def monotonic(self):
        return self._now

    def predict(self, texts):
        self._now += next(self._latencies)


@pytest.mark.parametrize("number", [1, 2, 3, 10, 99, 100, 101, 250, 1000])
def test_the_latencies_of_a_load_test_are_percentiles(number, monkeypatch):
    rng = np.random.default_rng(number)
    # A few are far slower, so that the percentiles lie far apart.
    latencies = rng.lognormal(-4, 1.5, number)
    clock = _Clock(latencies)
    monkeypatch.setattr(grpc_client, "time", clock)
    seconds = latencies.sum()
    # The last request begins before the end, and none after it.
    figures = load_test(clock, [["a"], ["b", "c"]], seconds * 0.999999, 1)
    assert (figures["requests"], figures["errors"]) == (number, {})
    for percent in (50, 95, 99):
        # Of two neighbours the slower.
        expected = np.percentile(latencies, percent, method="higher")
        np.testing.assert_allclose(
            figures[f"p{percent}_ms"], 1000 * expected, atol=0.001
        )
    rates = figures["requests_per_second"], figures["texts_per_second"]
    texts = number + number // 2
    np.testing.assert_allclose(
        rates, np.array([number, texts]) / seconds, atol=0.06
    )


def test_a_load_test_without_an_answer_has_no_latencies(client, scripted):
    scripted.failures = [grpc.StatusCode.INVALID_ARGUMENT] * 1_000_000
    figures = load_test(client, [["a"]], 0.2, concurrency=1)
    assert figures["requests"] == 0
    assert set(figures["errors"]) == {"INVALID_ARGUMENT"}
    assert figures["p50_ms"] is figures["p99_ms"] is None


def test_a_load_test_at_a_rate(client):
    figures = load_test(client, [["a"]], 1.0, concurrency=4, rate=40)
    assert 30 <= figures["requests"] <= 40


def test_a_load_test_ends_with_its_last_arrival(client):
    # Arrivals at 0 and 0.5 s; the next ones would come seconds later.
    figures = load_test(client, [["a"]], 0.9, concurrency=8, rate=2)
    assert figures["requests"] == 2
    assert 0.9 <= figures["seconds"] < 1.4
    assert figures["requests_per_second"] > 1.5


def test_a_load_test_with_random_arrivals(client, scripted):
    figures = load_test(
        client, [["a"]], 1.0, concurrency=8, rate=100, arrivals="poisson"
    )
    # Within five standard deviations of a Poisson variable.
    assert 50 <= figures["requests"] <= 150


def test_answers_are_json_lines(scripted, tmp_path, capsys):
    path = tmp_path / "texts"
    path.write_bytes(b"abc\r\n\nna\xc3\xafve\n\xff\n")
    command.main(
        ["--target", scripted.target, "--model", "m", "--file", str(path)]
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["text"], line["label"]) for line in lines] == [
        ("abc", "3"),
        ("", "0"),
        ("naïve", "6"),
        ("\ufffd", "1"),
    ]
    assert lines[0]["probabilities"] == {"a": 3.0, "b": 0.5}


def test_a_mark_of_utf_8_is_no_text(scripted, tmp_path, capsys):
    path = tmp_path / "texts"
    path.write_bytes("abc\n\ufeffd\n".encode("utf-8-sig"))
    command.main(
        ["--target", scripted.target, "--model", "m", "--file", str(path)]
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # Only the first is one.
    assert [line["text"] for line in lines] == ["abc", "\ufeffd"]


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("load_test", [[], ["--load-test", "1"]])
def test_utf_16_is_refused(scripted, tmp_path, order, load_test):
    path = tmp_path / "texts"
    path.write_bytes("\ufeffwho\nwhat".encode(f"utf-16-{order}"))
    known = ["--target", scripted.target, "--model", "m", "--file", str(path)]
    with pytest.raises(UserError, match="is encoded as UTF-16.*iconv"):
        command.main([*known, *load_test])
    assert scripted.requests == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "Give texts"),
        (["a", "--target", "127.0.0.1:99999"], "`--target` must have a port"),
        (["a", "--target", "127.0.0.1:0"], "`--target` must have a port"),
        (["a", "--file", "b"], "Give texts"),
        (["--file", "/absent"], "--file"),
        (["a", "--batch-size", "0"], "--batch-size"),
        (["a", "--model", "m\udcff"], "`--model` must be UTF-8"),
        (["a", "--load-test", "1", "--rate", "0"], "--rate"),
        (["a", "--load-test", "1", "--rate", "inf"], "`--rate` must lie"),
        (["a", "--load-test", "1", "--rate", "1e300"], "`--rate` must lie"),
        (["a", "--load-test", "inf"], "`--load-test` must lie"),
        (["a", "--max-in-flight", "100000"], "`--max-in-flight` must lie"),
        (["a", "--rate", "9"], "`--rate` needs `--load-test`"),
        (
            ["a", "--load-test", "1", "--arrivals", "poisson"],
            "`--arrivals` needs `--rate`",
        ),
        (["a", "--timeout-seconds", "nan"], "--timeout-seconds"),
        (["a", "--timeout-seconds", "inf"], "--timeout-seconds"),
        (["a", "--retries", "-1"], "`--retries` must lie between 0"),
        (["a", "--version", "-1"], "`--version` must lie between 0"),
        (["a", "--version", str(1 << 63)], "`--version` must lie between 0"),
        (["a", "--tls", "--root-certificates", "/absent"], "/absent"),
        (["a", "--tls", "--root-certificates", __file__], "no PEM file"),
        (["a", "--tls", "--client-key", __file__], "Give both"),
        (["a", "--tls", "--client-certificate", __file__], "Give both"),
        (["a", "--root-certificates", __file__], "needs `--tls`"),
        (["a", "--client-key", __file__], "needs `--tls`"),
        (["a", "--client-certificate", __file__], "needs `--tls`"),
    ],
)
def test_mistakes_are_told(scripted, arguments, message):
    known = ["--target", scripted.target, "--model", "m"]
    with pytest.raises(UserError, match=message):
        command.main([*known, *arguments])
    # Nothing was sent, least of all in plain text.
    assert scripted.requests == []


def test_the_highest_version_can_be_asked_for(scripted, capsys):
    highest = (1 << 63) - 1
    command.main(
        [*("--target", scripted.target, "--model", "m", "a")]
        + [*("--version", str(highest), "--retries", "0")]
    )
    assert json.loads(capsys.readouterr().out)["label"] == "1"
    (request,) = scripted.requests
    assert request.model_spec.version.value == highest


def test_a_mistake_ends_with_one_message_and_status_2(scripted):
    result = subprocess.run(
        [sys.executable, "-m", "serving.client", "--target", scripted.target]
        + ["--model", "m", "--version", "1180591620717411303424", "a"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert re.fullmatch(r"error: `--version` .+\n", result.stderr)


def test_nobody_there_is_told_at_once_and_in_the_end(caplog):
    caplog.set_level(logging.INFO)
    known = ["--target", "127.0.0.1:1", "--model", "m"]
    with pytest.raises(UserError, match="^127.0.0.1:1 could not be reached:"):
        command.main([*known, "--timeout-seconds", "1.5", "a"])
    (told,) = (each for each in caplog.messages if "Not answered" in each)
    assert "Connection refused" in told
    with pytest.raises(UserError, match="could not be reached"):
        command.main(
            [*("--target", "host.invalid:80", "--model", "m")]
            + [*("--retries", "0", "a")]
        )


def test_a_refusal_is_told(scripted):
    scripted.failures = [grpc.StatusCode.NOT_FOUND]
    with pytest.raises(UserError, match="NOT_FOUND: as told"):
        command.main(["--target", scripted.target, "--model", "m", "a"])


def test_the_client_needs_neither_tensorflow_nor_this_library():
    # Seconds of the processor, which other work does not lengthen.
    code = (
        "import sys, time; start = time.process_time(); "
        "import serving.client; "
        "print(time.process_time() - start, "
        "*({'tensorflow', 'numpy', 'keras', 'ulmfit_tf'} & set(sys.modules)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    seconds, *modules = process.stdout.split()
    assert modules == []
    assert float(seconds) < 1


@pytest.mark.slow
def test_tensorflow_can_be_imported_after_the_client(tmp_path):
    code = (
        "import serving.client; import tensorflow as tf; "
        "from serving.stubs import predict_pb2; "
        "request = predict_pb2.PredictRequest(); "
        "request.inputs['x'].CopyFrom(tf.make_tensor_proto([1.0])); "
        f"tf.saved_model.save(tf.Module(), {str(tmp_path)!r}); print('done')"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.strip() == "done", process.stderr
