"""Errors of the server, with the status codes that TF Serving gives."""

import contextlib

import grpc

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
_HTTP = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
        code: `grpc.StatusCode`.
        message: Str.
    """

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self):
        """Int, what TF Serving's REST interface answers."""
        return _HTTP.get(self.code, 500)


def invalid_argument(message):
    """Returns the error of a request that no model could answer."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message):
    """Returns the error of a request for what is not served."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


@contextlib.contextmanager
def tensorflow_errors():
    """Turns TensorFlow's errors into `ServingError` of the same code."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        raise ServingError(
            _BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN),
            error.message,
        ) from error
