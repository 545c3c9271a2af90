"""TF Serving's gRPC services over a `Predictor`, and gRPC's health check."""

import time

import grpc
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.status import ServingError

_HEALTH = "grpc.health.v1"
_SERVING, _NOT_SERVING = 1, 2
# TF Serving's own: gRPC does not carry much longer messages.
_MESSAGE_BYTES = 1024


class _Answering:
    """Times, counts and ends calls with the status of their error."""

    def __init__(self, predictor, metrics):
        self._predictor = predictor
        self._metrics = metrics

    def _answer(self, method, function, request, context):
        started = time.monotonic()
        code = grpc.StatusCode.OK
        try:
            return function(request)
        except ServingError as error:
            code = error.code
            message = error.message.encode("utf-8", "replace")[:_MESSAGE_BYTES]
            context.abort(error.code, message.decode("utf-8", "ignore"))
        except Exception:
            code = grpc.StatusCode.INTERNAL
            raise
        finally:
            name = request.model_spec.name
            if name not in self._predictor.versions.names:
                # Whatever strangers ask for must not grow the metrics.
                name = ""
            self._metrics.count_request(
                name, method, code.name, time.monotonic() - started
            )


class PredictionService(
    _Answering, prediction_service_pb2_grpc.PredictionServiceServicer
):
    """Predict, Classify and GetModelMetadata."""

    def Predict(self, request, context):
        return self._answer(
            "Predict",
            lambda r: self._predictor.predict(r, context.time_remaining()),
            request,
            context,
        )

    def Classify(self, request, context):
        return self._answer(
            "Classify",
            lambda r: self._predictor.classify(r, context.time_remaining()),
            request,
            context,
        )

    def GetModelMetadata(self, request, context):
        return self._answer(
            "GetModelMetadata", self._predictor.metadata, request, context
        )


class ModelService(_Answering, model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus."""

    def GetModelStatus(self, request, context):
        return self._answer(
            "GetModelStatus",
            lambda r: self._predictor.versions.status(r.model_spec),
            request,
            context,
        )


def _declare_health():
    """Declares grpc.health.v1, which grpcio itself does not bring."""
    file = descriptor_pb2.FileDescriptorProto(
        name="ulmfit_tf/serving/health.proto",
        package=_HEALTH,
        syntax="proto3",
    )
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(
        name="service", number=1, label=1, type=9, json_name="service"
    )
    response = file.message_type.add(name="HealthCheckResponse")
    # An enum on the wire; no name is needed here.
    response.field.add(
        name="status", number=1, label=1, type=5, json_name="status"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return [
        message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{_HEALTH}.{name}")
        )
        for name in ("HealthCheckRequest", "HealthCheckResponse")
    ]


HealthCheckRequest, HealthCheckResponse = _declare_health()


def health_handler(is_ready):
    """Returns the generic handler of gRPC's health service.

    Args:
        is_ready: Callable without arguments, whether requests are taken.
    """

    def check(request, context):
        if request.service not in ("", "tensorflow.serving.PredictionService"):
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(
            status=_SERVING if is_ready() else _NOT_SERVING
        )

    return grpc.method_handlers_generic_handler(
        f"{_HEALTH}.Health",
        {
            "Check": grpc.unary_unary_rpc_method_handler(
                check,
                request_deserializer=HealthCheckRequest.FromString,
                response_serializer=HealthCheckResponse.SerializeToString,
            )
        },
    )
