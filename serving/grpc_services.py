"""TF Serving's gRPC services over a `Predictor`."""

import logging
import time

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.status import ServingError
from serving.waiting import Waiter

# The calls that compute, which are those that the metrics count.
_COUNTED = ("Predict", "Classify")
PREDICTIONS = tuple(
    f"/tensorflow.serving.PredictionService/{name}" for name in _COUNTED
)
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
            # Whatever it says is about this process, not about the request.
            logging.exception("%s failed", method)
            code = grpc.StatusCode.INTERNAL
            context.abort(code, "Internal error.")
        finally:
            if method in _COUNTED:
                name = request.model_spec.name
                if name not in self._predictor.versions.names:
                    # Whatever strangers ask for must not grow the metrics.
                    name = ""
                self._metrics.count_request(
                    *(name, method, "GRPC", code.name),
                    time.monotonic() - started,
                )


class PredictionService(
    _Answering, prediction_service_pb2_grpc.PredictionServiceServicer
):
    """Predict, Classify and GetModelMetadata."""

    def Predict(self, request, context):
        return self._answer(
            "Predict",
            lambda r: self._predictor.predict(r, _waiter(context)),
            request,
            context,
        )

    def Classify(self, request, context):
        return self._answer(
            "Classify",
            lambda r: self._predictor.classify(r, _waiter(context)),
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
            "GetModelStatus", self._predictor.status, request, context
        )


def _waiter(context):
    """Returns the `Waiter` of a call; it leaves when the call has ended."""
    waiter = Waiter(context.time_remaining())
    if not context.add_callback(waiter.leave):
        waiter.leave()
    return waiter
