"""TF Serving's calls, whatever they travel over."""

import time

import grpc
import numpy as np
from google.protobuf import any_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    predict_pb2,
)

from serving.status import (
    ServingError,
    invalid_argument,
    tensorflow_errors,
)
from serving.tensors import (
    check_bytes,
    check_rows,
    input_array,
    output_proto,
)

_DEFAULT_SIGNATURE = "serving_default"
_CLASSIFY_METHOD = "tensorflow/serving/classify"
_CLASSES, _SCORES = "classes", "scores"
_MOST_BYTES = 64 << 20


class Predictor:
    """Answers TF Serving's requests with its status codes and messages.

    Args:
        versions: `VersionManager`.
        max_rows: Int, rows of a request at most.
        observe_runtime: Callable `(model_name, api, seconds)`.
        max_bytes: Int, of a request whose rows share nothing; the transport
            looks after those that are as long as they are.
    """

    def __init__(
        self,
        versions,
        max_rows,
        observe_runtime=lambda *_: None,
        max_bytes=_MOST_BYTES,
    ):
        self.versions = versions
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._observe_runtime = observe_runtime

    def predict(self, request, waiter=None):
        """Answers a `PredictRequest` with a `PredictResponse`.

        Args:
            request: `PredictRequest`.
            waiter: Optional `Waiter`, who wants the answer.
        """
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        with self.versions.use(request.model_spec) as (model, version):
            return self.predict_with(model, version, request, waiter)

    def predict_with(self, model, version, request, waiter=None):
        """Answers a `PredictRequest` with a given model."""
        name = request.model_spec.signature_name or _DEFAULT_SIGNATURE
        if name not in model.signatures:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.',
            )
        signature = model.signatures[name]
        inputs = self._inputs(signature, request.inputs)
        outputs = _filtered_outputs(signature, request.output_filter)
        values = self._run(
            model,
            request.model_spec,
            "Predict",
            name,
            inputs,
            outputs,
            waiter,
        )
        response = predict_pb2.PredictResponse()
        _describe(response.model_spec, request.model_spec.name, name, version)
        for output in outputs:
            response.outputs[output].CopyFrom(output_proto(values[output]))
        return response

    def classify(self, request, waiter=None):
        """Answers a `ClassificationRequest`."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        with self.versions.use(request.model_spec) as (model, version):
            return self.classify_with(model, version, request, waiter)

    def classify_with(self, model, version, request, waiter=None):
        """Answers a `ClassificationRequest` with a given model."""
        name = request.model_spec.signature_name or _DEFAULT_SIGNATURE
        if name not in model.signatures:
            raise invalid_argument(
                f"No signature was found with the name: {name}"
            )
        signature = model.signatures[name]
        if signature.method_name != _CLASSIFY_METHOD:
            raise invalid_argument(
                "Expected classification signature method_name to be "
                f"{_CLASSIFY_METHOD}. Was: {signature.method_name}"
            )
        outputs = tuple(
            output
            for output in (_CLASSES, _SCORES)
            if output in signature.outputs
        )
        if not outputs:
            raise invalid_argument(
                "Expected classification signature outputs to contain at "
                f'least one of "{_CLASSES}" or "{_SCORES}"'
            )
        examples = self._serialized_examples(request.input)
        array = np.empty(len(examples), object)
        array[:] = examples
        values = self._run(
            model,
            request.model_spec,
            "Classify",
            name,
            {"inputs": array},
            outputs,
            waiter,
        )
        response = classification_pb2.ClassificationResponse()
        _describe(response.model_spec, request.model_spec.name, name, version)
        for index in range(len(examples)):
            row = response.result.classifications.add()
            for _ in range(values[outputs[0]].shape[1]):
                row.classes.add()
            if _CLASSES in values:
                for each, label in zip(
                    row.classes, values[_CLASSES][index], strict=True
                ):
                    each.label = label.decode("utf-8")
            if _SCORES in values:
                for each, score in zip(
                    row.classes, values[_SCORES][index].tolist(), strict=True
                ):
                    each.score = score
        return response

    def status(self, request):
        """Answers a `GetModelStatusRequest`."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        return self.versions.status(request.model_spec)

    def metadata(self, request):
        """Answers a `GetModelMetadataRequest`."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one "
                "metadata_field"
            )
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(
                    f"Metadata field {field} is not supported"
                )
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.versions.use(request.model_spec) as (model, version):
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, definition in model.meta_graph.signature_def.items():
                signatures.signature_def[name].CopyFrom(definition)
            packed = any_pb2.Any()
            packed.Pack(signatures)
            response.metadata["signature_def"].CopyFrom(packed)
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version
        return response

    def replay(self, model, log):
        """Answers a `PredictionLog` of a version that is being loaded."""
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            self.predict_with(model, 0, log.predict_log.request)
        elif kind == "classify_log":
            self.classify_with(model, 0, log.classify_log.request)
        else:
            raise ServingError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported log_type for warmup: {kind}",
            )

    def _inputs(self, signature, given):
        """Returns a request's arrays by name."""
        sent, known = set(given), set(signature.inputs)
        if len(sent) != len(known):
            raise invalid_argument(
                f"input size does not match signature: {len(sent)}!="
                f"{len(known)} len({_listed(sent)}) != len({_listed(known)}). "
                f"Sent extra: {_listed(sent - known)}. Missing but required: "
                f"{_listed(known - sent)}."
            )
        for name, info in sorted(signature.inputs.items()):
            if name not in sent:
                raise invalid_argument(
                    f"Signature input alias: {name}(feed name: {info.name}) "
                    "not found in request and no default value provided. "
                    f"Inputs expected to be in the request {_listed(sent)}, "
                    "or default input alias set: "
                )
        return {
            name: input_array(
                name, given[name], info, self._max_rows, self._max_bytes
            )
            for name, info in signature.inputs.items()
        }

    def _serialized_examples(self, source):
        """Returns the serialized examples of a Classify request's input."""
        kind = source.WhichOneof("kind")
        examples = getattr(source, kind).examples if kind else ()
        if not examples:
            raise invalid_argument("Input is empty.")
        check_rows(len(examples), self._max_rows)
        if kind == "example_list":
            return [example.SerializeToString() for example in examples]
        context = source.example_list_with_context.context
        check_bytes(
            source.ByteSize() + (len(examples) - 1) * context.ByteSize(),
            self._max_bytes,
        )
        serialized = []
        for example in examples:
            joined = type(example)()
            joined.CopyFrom(context)
            joined.MergeFrom(example)
            serialized.append(joined.SerializeToString())
        return serialized

    def _run(self, model, spec, api, signature_name, inputs, outputs, waiter):
        started = time.monotonic()
        with tensorflow_errors():
            values = model.run(signature_name, inputs, outputs, waiter)
        self._observe_runtime(spec.name, api, time.monotonic() - started)
        return values


def _filtered_outputs(signature, wanted):
    """Returns the names of the outputs that a request asks for."""
    for index, name in enumerate(wanted):
        if name not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {name} Outputs "
                "expected to be in the set "
                f"{_listed(set(signature.outputs))}."
            )
        if name in wanted[:index]:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
    return tuple(sorted(wanted or signature.outputs))


def _describe(spec, name, signature_name, version):
    spec.name = name
    spec.signature_name = signature_name
    spec.version.value = version


def _listed(names):
    return "{" + ",".join(sorted(names)) + "}"
