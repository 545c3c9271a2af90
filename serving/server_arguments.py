"""The development server's arguments, named as TF Serving's."""

import argparse
import pathlib

from serving import config_files, tls
from serving.batching import BatchingOptions
from serving.command_line import HelpFormatter, UserError
from serving.model_server import ServerOptions
from serving.model_source import ModelSource

_INT32 = (1 << 31) - 1
# Of the numbers: name, least and most.
_RANGES = (
    ("port", 0, 65535),
    ("rest_api_port", 0, 65535),
    ("rest_api_timeout_in_ms", 1, _INT32),
    # Neither is "nan" between them.
    ("file_system_poll_wait_seconds", -_INT32, _INT32),
    ("max_message_bytes", 1, _INT32),
    ("max_rows", 1, _INT32),
    # Four times as many threads may be needed.
    ("max_workers", 1, 512),
    ("tensorflow_intra_op_parallelism", 0, 10_000),
    ("tensorflow_inter_op_parallelism", 0, 10_000),
)
_METRICS_PATH = "/monitoring/prometheus/metrics"


def parse_arguments(argv):
    """Returns `(sources, options)` of a command line.

    Raises:
        UserError: If a file cannot be used or arguments contradict.
    """
    arguments = _parser().parse_args(argv)
    if (arguments.model_base_path is None) == (
        arguments.model_config_file is None
    ):
        raise UserError(
            "Give one of `--model-base-path` and `--model-config-file`."
        )
    if arguments.model_name and arguments.model_config_file:
        raise UserError(
            "`--model-name` belongs to `--model-base-path`: "
            "`--model-config-file` has names of its own."
        )
    if arguments.batching_parameters_file and not arguments.enable_batching:
        raise UserError(
            "`--batching-parameters-file` needs `--enable-batching`."
        )
    if arguments.monitoring_config_file and arguments.rest_api_port is None:
        raise UserError(
            "`--monitoring-config-file` needs `--rest-api-port`: metrics are "
            "read over HTTP."
        )
    for name, least, most in _RANGES:
        value = getattr(arguments, name)
        if value is not None and not least <= value <= most:
            flag = "--" + name.replace("_", "-")
            raise UserError(
                f"`{flag}` must lie between {least} and {most}. Received: "
                f"{value}."
            )
    options = ServerOptions(
        host=arguments.host,
        port=arguments.port,
        rest_port=arguments.rest_api_port,
        rest_timeout_seconds=arguments.rest_api_timeout_in_ms / 1000,
        poll_seconds=arguments.file_system_poll_wait_seconds,
        max_message_bytes=arguments.max_message_bytes,
        max_rows=arguments.max_rows,
        max_workers=arguments.max_workers,
        intra_op_threads=arguments.tensorflow_intra_op_parallelism,
        inter_op_threads=arguments.tensorflow_inter_op_parallelism,
        batching=_batching(arguments),
        metrics_path=_metrics_path(arguments),
        tls=_tls(arguments),
    )
    return _sources(arguments), options


def _sources(arguments):
    if arguments.model_base_path is not None:
        path = pathlib.Path(arguments.model_base_path).absolute()
        sources = [ModelSource(arguments.model_name or path.name, path)]
    else:
        sources = read_sources(arguments.model_config_file)
    for source in sources:
        if not source.base_path.is_dir():
            raise UserError(
                f"`{source.base_path}` is not a folder. Give the folder that "
                "holds the model's versions, such as the one that "
                "`python -m serving.export` wrote."
            )
        if (source.base_path / "saved_model.pb").exists():
            raise UserError(
                f"`{source.base_path}` is one version of a model. Give the "
                f"folder that holds the versions, `{source.base_path.parent}`."
            )
        exported = source.base_path / "saved_model"
        if exported.is_dir():
            raise UserError(
                f"`{source.base_path}` is the folder of a run. Give the folder "
                f"that holds the versions, `{exported}`."
            )
    return sources


def read_sources(path):
    """Returns the `ModelSource`s of a models.config file.

    Raises:
        UserError: If the file cannot be used.
    """
    config = config_files.read_config(path, config_files.ModelServerConfig)
    sources = []
    for model in config.model_config_list.config:
        policy = model.model_version_policy
        kind = policy.WhichOneof("policy_choice")
        sources.append(
            ModelSource(
                model.name,
                pathlib.Path(model.base_path),
                latest={
                    "all": 0,
                    "latest": policy.latest.num_versions or 1,
                }.get(kind, 1),
                specific=tuple(policy.specific.versions),
                labels=dict(model.version_labels),
            )
        )
    names = [source.name for source in sources]
    if not names or "" in names or len(set(names)) < len(names):
        raise UserError(
            f"`{path}` must list at least one model, each with a name of its "
            f"own. Received: {names}."
        )
    for model in config.model_config_list.config:
        if not model.base_path:
            raise UserError(
                f"`{path}`: `{model.name}` has no `base_path`, the folder "
                "that holds its versions."
            )
        # The real server would not start.
        if not pathlib.PurePath(model.base_path).is_absolute():
            raise UserError(
                f"`{path}`: `base_path` of `{model.name}` must be an absolute "
                f"path. Received: {model.base_path}."
            )
        if model.model_platform != "tensorflow":
            raise UserError(
                f"`{path}`: `{model.name}` needs `model_platform: "
                f'"tensorflow"`. Received: "{model.model_platform}".'
            )
    return sources


def _batching(arguments):
    if not arguments.enable_batching:
        return None
    if arguments.batching_parameters_file is None:
        return BatchingOptions()
    path = arguments.batching_parameters_file
    message = config_files.read_config(path, config_files.BatchingParameters)
    if message.enable_large_batch_splitting.value:
        raise UserError(
            f"`{path}`: `enable_large_batch_splitting` is for the real server; "
            "this one does not split requests. Leave it out here."
        )
    try:
        return BatchingOptions.from_message(message)
    except ValueError as error:
        raise UserError(f"`{path}`: {error}") from error


def _metrics_path(arguments):
    if arguments.monitoring_config_file is None:
        return None
    message = config_files.read_config(
        arguments.monitoring_config_file, config_files.MonitoringConfig
    ).prometheus_config
    return (message.path or _METRICS_PATH) if message.enable else None


def _tls(arguments):
    if arguments.ssl_config_file is None:
        return None
    message = config_files.read_config(
        arguments.ssl_config_file, config_files.SSLConfig
    )
    if message.client_verify and not message.custom_ca:
        raise UserError(
            f"`{arguments.ssl_config_file}`: `client_verify` needs "
            "`custom_ca`, the certificates of who signs the clients'."
        )
    for name in ("server_key", "server_cert"):
        if "-----BEGIN" not in getattr(message, name):
            raise UserError(
                f"`{arguments.ssl_config_file}`: `{name}` must be the content "
                "of a PEM file, not its path."
            )
    try:
        # gRPC would only say that the port cannot be opened.
        tls.ssl_context(message)
    except ValueError as error:
        raise UserError(f"`{arguments.ssl_config_file}`: {error}") from error
    return message


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="A development server with TF Serving's protocol.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("--model-base-path", help="folder of one model's versions")
    add(
        "--model-name",
        help="by default the name of that folder, where TF Serving has "
        "`default`",
    )
    add("--model-config-file", help="models.config, for several models")
    add("--host", default=ServerOptions.host, help="address to listen on")
    add("--port", type=int, default=8500, help="of gRPC; 0 for a free one")
    add("--rest-api-port", type=int, help="of REST; 0 for a free one")
    add(
        "--rest-api-timeout-in-ms",
        type=int,
        default=int(ServerOptions.rest_timeout_seconds * 1000),
        help="after which a long REST request is given up",
    )
    add(
        "--enable-batching",
        action="store_true",
        help="answer requests together that arrive at about the same time",
    )
    add("--batching-parameters-file", help="needs --enable-batching")
    add("--monitoring-config-file", help="needs --rest-api-port")
    add("--ssl-config-file", help="PEM contents; plain text without")
    add(
        "--file-system-poll-wait-seconds",
        type=float,
        default=ServerOptions.poll_seconds,
        help="between looks for versions; 0 for one look at the start, "
        "negative for none",
    )
    add(
        "--max-message-bytes",
        type=int,
        default=ServerOptions.max_message_bytes,
        help="of a request",
    )
    add(
        "--max-rows",
        type=int,
        default=ServerOptions.max_rows,
        help="texts in a request",
    )
    add(
        "--max-workers",
        type=int,
        default=ServerOptions.max_workers,
        help="predictions over gRPC answered at the same time; by default "
        "16, with batching twice its batch size but at most 256",
    )
    add(
        "--tensorflow-intra-op-parallelism",
        type=int,
        default=ServerOptions.intra_op_threads,
        help="threads of one operation; 0 for TensorFlow's choice",
    )
    add(
        "--tensorflow-inter-op-parallelism",
        type=int,
        default=ServerOptions.inter_op_threads,
        help="threads of a long request; 0 for TensorFlow's choice",
    )
    return parser
