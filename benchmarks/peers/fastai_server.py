"""fastai's `predict` behind TF Serving's Predict call.

    PYTHON benchmarks/peers/fastai_server.py WORDS EMBEDDING HIDDEN LAYERS

runs in an environment of its own with fastai, grpcio and protobuf, and
imports nothing of this project. WORDS is a file with one word a line. The
weights are random. When it is ready it prints one line as
`python -m serving.server` does.
"""

import concurrent.futures
import json
import pathlib
import random
import sys
import threading

import grpc
import pandas
from fastai.text.all import (
    AWD_LSTM,
    TextDataLoaders,
    awd_lstm_clas_config,
    text_classifier_learner,
)
from fastai.text.core import defaults
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

_FLOAT, _STRING = 1, 7
_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_TEXT = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_ENUM = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
_FLOATS = descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT
# The fields of TF Serving's messages that are used here, by number; "[]"
# marks a repeated one.
_MESSAGES = {
    "Dim": [("size", 1, _INT64)],
    "Shape": [("dim", 2, "Dim[]")],
    "Tensor": [
        ("dtype", 1, _ENUM),
        ("tensor_shape", 2, "Shape"),
        ("float_val", 5, [_FLOATS]),
        ("string_val", 8, [_BYTES]),
    ],
    # A map on the wire.
    "Entry": [("key", 1, _TEXT), ("value", 2, "Tensor")],
    "PredictRequest": [("inputs", 2, "Entry[]")],
    "PredictResponse": [("outputs", 1, "Entry[]")],
}


def _declare():
    file = descriptor_pb2.FileDescriptorProto(
        name="predict.proto", package="peer", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            field = message.field.add(name=field_name, number=number)
            repeated = isinstance(kind, list)
            if isinstance(kind, str):
                repeated = kind.endswith("[]")
                field.type = field.TYPE_MESSAGE
                field.type_name = ".peer." + kind.removesuffix("[]")
            else:
                field.type = kind[0] if repeated else kind
            field.label = (
                field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return [
        message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"peer.{name}")
        )
        for name in ("PredictRequest", "PredictResponse")
    ]


PredictRequest, PredictResponse = _declare()


def _make_learner(words, embedding_units, hidden_units, num_layers):
    rng = random.Random(0)
    rows = range(80)
    frame = pandas.DataFrame(
        {
            "text": [" ".join(rng.choices(words, k=12)) for _ in rows],
            "label": [f"class {row % 6}" for row in rows],
            "is_valid": [row % 5 == 0 for row in rows],
        }
    )
    loaders = TextDataLoaders.from_df(
        frame,
        text_col="text",
        label_col="label",
        valid_col="is_valid",
        text_vocab=[*defaults.text_spec_tok, *words],
        bs=16,
        n_workers=0,
    )
    sizes = {
        "emb_sz": embedding_units,
        "n_hid": hidden_units,
        "n_layers": num_layers,
    }
    return text_classifier_learner(
        loaders,
        AWD_LSTM,
        pretrained=False,
        config={**awd_lstm_clas_config, **sizes},
    )


class _Predictor:
    """Answers one request at a time: a learner keeps state in `predict`."""

    def __init__(self, learner):
        self._learner = learner
        self._classes = [name.encode() for name in learner.dls.vocab[1]]
        self._lock = threading.Lock()

    def __call__(self, request, context):
        (texts,) = (
            entry.value.string_val
            for entry in request.inputs
            if entry.key == "text"
        )
        labels, probabilities = [], []
        with self._lock, self._learner.no_bar(), self._learner.no_logging():
            for text in texts:
                label, _, row = self._learner.predict(text.decode())
                labels.append(label.encode())
                probabilities += row.tolist()
        response = PredictResponse()
        width = len(self._classes)
        _add(response, "label", [len(texts)], strings=labels)
        _add(
            response,
            "classes",
            [len(texts), width],
            strings=self._classes * len(texts),
        )
        _add(
            response, "probabilities", [len(texts), width], floats=probabilities
        )
        return response


def _add(response, name, shape, strings=(), floats=()):
    tensor = response.outputs.add(key=name).value
    tensor.dtype = _STRING if strings else _FLOAT
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.string_val.extend(strings)
    tensor.float_val.extend(floats)


def main():
    """Serves until it is ended."""
    path, *sizes = sys.argv[1:]
    words = pathlib.Path(path).read_text(encoding="utf-8").split()
    learner = _make_learner(words, *map(int, sizes))
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    handler = grpc.unary_unary_rpc_method_handler(
        _Predictor(learner),
        request_deserializer=PredictRequest.FromString,
        response_serializer=PredictResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "tensorflow.serving.PredictionService", {"Predict": handler}
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(json.dumps({"grpc": f"127.0.0.1:{port}"}), flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
