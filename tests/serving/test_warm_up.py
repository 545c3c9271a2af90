"""Warm-up requests: what an export holds, and how a server replays them."""

import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, prediction_log_pb2

from serving.batching import BatchedModel, BatchingOptions
from serving.model_server import Server, ServerOptions
from serving.model_source import ModelSource
from serving.predictor import Predictor
from serving.session_model import WARM_UP_FILE, SessionModel
from serving.versions import VersionManager
from serving.warm_up import write_warm_up

# Of TensorFlow's status codes.
_INVALID_ARGUMENT, _FAILED_PRECONDITION, _DATA_LOSS = 3, 9, 15
_UNIMPLEMENTED = 12


def _logs(path):
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in records
    ]


def _asked(log):
    """Returns `(call, model, signature, texts)` of a log."""
    kind = log.WhichOneof("log_type")
    request = getattr(log, kind).request
    if kind == "predict_log":
        (name,) = request.inputs
        assert name == "text"
        texts = tf.make_ndarray(request.inputs["text"]).tolist()
    else:
        texts = [
            example.features.feature["text"].bytes_list.value[0]
            for example in request.input.example_list.examples
        ]
    return (
        kind,
        request.model_spec.name,
        request.model_spec.signature_name,
        [text.decode("utf-8") for text in texts],
    )


def _requests_of(texts):
    return [
        ("predict_log", "questions", "serving_default", texts),
        ("predict_log", "questions", "tokens", texts),
        ("classify_log", "questions", "classify", texts),
    ]


def test_each_batch_goes_to_every_signature(tmp_path):
    path = tmp_path / WARM_UP_FILE
    batches = [["what"], ["who", "Straße"]]
    write_warm_up(path, "questions", batches)
    assert [_asked(log) for log in _logs(path)] == [
        *_requests_of(batches[0]),
        *_requests_of(batches[1]),
    ]


def test_an_export_warms_up_every_signature_with_texts_of_all_kinds(
    model_directory,
):
    asked = [_asked(log) for log in _logs(model_directory / "1" / WARM_UP_FILE)]
    texts = [texts for *_, texts in asked[::3]]
    assert asked == [
        request for batch in texts for request in _requests_of(batch)
    ]
    # A batch of more might be larger than the server's batching allows.
    assert {len(batch) for batch in texts} == {1}
    lengths = [len(text) for (text,) in texts]
    assert min(lengths) < 30 and max(lengths) > 1000
    assert not all(text.isascii() for (text,) in texts)


class _Model:
    def __init__(self, directory):
        self.closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def directory(tmp_path):
    """An empty version, which `write` gives records."""
    directory = tmp_path / "m" / "1"
    (directory / WARM_UP_FILE).parent.mkdir(parents=True)
    return directory


def _write(directory, records):
    with tf.io.TFRecordWriter(str(directory / WARM_UP_FILE)) as writer:
        for record in records:
            writer.write(record)


def _record(signature="serving_default", text="who"):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "m"
    request.model_spec.signature_name = signature
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([text], tf.string))
    return log.SerializeToString()


def _loaded(directory, warm_up, make_model=_Model):
    """Loads a version as a server does; returns its status and its model."""
    models = []

    def make(directory):
        models.append(make_model(directory))
        return models[-1]

    source = ModelSource("m", directory.parent)
    manager = VersionManager([source], make, warm_up=warm_up)
    manager.poll()
    spec = model_pb2.ModelSpec(name="m")
    (status,) = manager.status(spec).model_version_status
    return status, models[0]


def test_every_record_is_replayed_in_order_before_requests(directory):
    _write(directory, [_record(text=str(number)) for number in range(1000)])
    replayed = []
    status, model = _loaded(
        directory, lambda model, log: replayed.append((model, _asked(log)))
    )
    assert status.state == status.AVAILABLE
    assert [texts for _, (*_, texts) in replayed] == [
        [str(number)] for number in range(1000)
    ]
    assert {id(warmed) for warmed, _ in replayed} == {id(model)}


def test_a_version_without_records_is_served(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    status, _ = _loaded(tmp_path / "m" / "1", lambda *_: pytest.fail("asked"))
    assert status.state == status.AVAILABLE


def test_more_than_a_thousand_records_are_refused(directory):
    """As in TF Serving, in its words."""
    _write(directory, [_record()] * 1001)
    status, model = _loaded(directory, lambda *_: None)
    assert status.state == status.END
    assert status.status.error_code == _INVALID_ARGUMENT
    assert "warmup records exceeds the maximum (1000)" in (
        status.status.error_message
    )
    assert model.closed


def _spoil(directory):
    path = directory / WARM_UP_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _cut_short(directory):
    path = directory / WARM_UP_FILE
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    "change, code, message",
    [
        (_spoil, _DATA_LOSS, "corrupted record"),
        (_cut_short, _DATA_LOSS, "truncated record"),
        (
            lambda directory: _write(directory, [_record(), b"\xff\xff"]),
            _INVALID_ARGUMENT,
            "Failed to parse warmup record",
        ),
    ],
    ids=["spoilt", "cut_short", "no_message"],
)
def test_a_file_that_cannot_be_read_fails_the_load(
    directory, change, code, message
):
    _write(directory, [_record()] * 3)
    change(directory)
    status, model = _loaded(directory, lambda *_: None)
    assert status.state == status.END
    assert status.status.error_code == code
    assert message in status.status.error_message
    assert model.closed


@pytest.fixture(scope="module")
def session_model(model_directory):
    model = SessionModel(model_directory / "1")
    yield model
    model.close()


class _Shared(_Model):
    """A model that the tests here load once; tells what it was asked."""

    def __init__(self, model):
        super().__init__(model.directory)
        self.signatures = model.signatures
        self._run = model.run
        self.asked = []

    def run(self, signature_name, inputs, *rest):
        (texts,) = inputs.values()
        self.asked.append((signature_name, len(texts)))
        return self._run(signature_name, inputs, *rest)


def _loaded_by_the_server(directory, session_model):
    return _loaded(
        directory,
        Predictor(None, max_rows=8).replay,
        lambda _: _Shared(session_model),
    )


def test_an_export_is_warmed_up_by_every_signature(
    model_directory, session_model
):
    status, model = _loaded_by_the_server(model_directory / "1", session_model)
    assert status.state == status.AVAILABLE
    every = [("serving_default", 1), ("tokens", 1), ("classify", 1)]
    assert len(model.asked) >= 9
    assert model.asked == every * (len(model.asked) // 3)


def _wrong_kind():
    log = prediction_log_pb2.PredictionLog()
    log.regress_log.request.model_spec.name = "m"
    return log.SerializeToString()


@pytest.mark.parametrize(
    "record, code, message",
    [
        (_record("absent"), _FAILED_PRECONDITION, '"absent" not found'),
        (_record("classify"), _INVALID_ARGUMENT, "inputs"),
        (_wrong_kind(), _UNIMPLEMENTED, "regress_log"),
    ],
    ids=["signature", "input", "kind"],
)
def test_a_record_that_fails_fails_the_load(
    directory, session_model, record, code, message
):
    _write(directory, [_record(), record])
    status, model = _loaded_by_the_server(directory, session_model)
    assert status.state == status.END
    assert status.status.error_code == code
    assert message in status.status.error_message
    # The one before it was answered.
    assert model.asked == [("serving_default", 1)]
    assert model.closed


def test_warming_up_keeps_to_no_rule_for_clients(model_directory, monkeypatch):
    """Waits for no batch to fill, and may be longer than requests."""
    monkeypatch.setattr(
        BatchedModel, "run", lambda *_: pytest.fail("It would wait.")
    )
    server = Server(
        [ModelSource("questions", model_directory)],
        ServerOptions(batching=BatchingOptions(), max_message_bytes=100),
    )
    server._versions.poll()
    assert server._versions.is_ready()
    server.stop(0)
