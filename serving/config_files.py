"""TF Serving's configuration files, parsed as it parses them.

The messages of the batching, monitoring and TLS files are not in the
tensorflow-serving-api package, so their fields are declared here; those of
`models.config` are the package's own.
"""

import pathlib

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,  # noqa: F401  (puts its messages into the pool)
)
from tensorflow_serving.config import model_server_config_pb2

from serving.command_line import UserError

_TYPES = {
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
}
_INT64 = ".google.protobuf.Int64Value"
# From TF Serving's session_bundle_config.proto, monitoring_config.proto and
# ssl_config.proto: name, number, type; "[]" marks a repeated field.
_MESSAGES = {
    "BatchingParameters": [
        ("max_batch_size", 1, _INT64),
        ("batch_timeout_micros", 2, _INT64),
        ("max_enqueued_batches", 3, _INT64),
        ("num_batch_threads", 4, _INT64),
        ("thread_pool_name", 5, ".google.protobuf.StringValue"),
        ("allowed_batch_sizes", 6, "int64[]"),
        ("pad_variable_length_inputs", 7, "bool"),
        # Their numbers are of no account in text.
        ("enable_large_batch_splitting", 8, ".google.protobuf.BoolValue"),
        ("max_execution_batch_size", 9, _INT64),
    ],
    "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
    "MonitoringConfig": [
        ("prometheus_config", 1, ".ulmfit_tf.serving.PrometheusConfig"),
    ],
    "SSLConfig": [
        ("server_key", 1, "string"),
        ("server_cert", 2, "string"),
        ("custom_ca", 3, "string"),
        ("client_verify", 4, "bool"),
    ],
}


def _declare():
    file = descriptor_pb2.FileDescriptorProto(
        name="ulmfit_tf/serving/config_files.proto",
        package="ulmfit_tf.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind in fields:
            field = message.field.add(name=name, number=number)
            repeated = kind.endswith("[]")
            kind = kind.removesuffix("[]")
            field.label = (
                field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            )
            if kind in _TYPES:
                field.type = _TYPES[kind]
            else:
                field.type = field.TYPE_MESSAGE
                field.type_name = kind
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"ulmfit_tf.serving.{name}")
        )
        for name in _MESSAGES
    }


_CLASSES = _declare()
BatchingParameters = _CLASSES["BatchingParameters"]
MonitoringConfig = _CLASSES["MonitoringConfig"]
SSLConfig = _CLASSES["SSLConfig"]
ModelServerConfig = model_server_config_pb2.ModelServerConfig


def read_config(path, message_class):
    """Parses a file in protobuf's text format.

    Args:
        path: Path of the file.
        message_class: Class of the message that it holds.

    Returns:
        The message.

    Raises:
        UserError: If the file cannot be read or holds something else.
    """
    try:
        content = pathlib.Path(path).read_text(encoding="utf-8")
        return text_format.Parse(content, message_class())
    except (OSError, ValueError, text_format.ParseError) as error:
        name = message_class.DESCRIPTOR.name
        raise UserError(
            f"`{path}` cannot be read as a {name} in protobuf's text format: "
            f"{error}. The files in serving/config are examples."
        ) from error
