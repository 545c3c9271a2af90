"""The configuration for the real server parses and hangs together."""

import os
import pathlib
import re
import socket
import subprocess

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

import serving
from serving import config_files
from serving.batching import BatchingOptions
from serving.command_line import UserError
from serving.listening import check_addresses
from serving.model_server import ServerOptions, address
from serving.server_arguments import parse_arguments, read_sources

CONFIG = pathlib.Path(serving.__file__).parent / "config"


def test_models_config_is_a_model_server_config():
    message = text_format.Parse(
        (CONFIG / "models.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    models = message.model_config_list.config
    # The real server does not start before every one has a version.
    assert [model.name for model in models] == ["questions"]
    assert {model.model_platform for model in models} == {"tensorflow"}
    (questions,) = read_sources(CONFIG / "models.config")
    assert questions.latest == 2


def test_batching_config():
    message = config_files.read_config(
        CONFIG / "batching.config", config_files.BatchingParameters
    )
    options = BatchingOptions.from_message(message)
    assert options.max_batch_size == 64
    assert options.batch_timeout_micros == 2000


def test_monitoring_config():
    message = config_files.read_config(
        CONFIG / "monitoring.config", config_files.MonitoringConfig
    )
    assert message.prometheus_config.enable
    assert message.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_ssl_config_holds_contents():
    message = config_files.read_config(
        CONFIG / "ssl.config", config_files.SSLConfig
    )
    assert message.server_key.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert message.server_cert.startswith("-----BEGIN CERTIFICATE-----\n")


def _container(file):
    if file == "docker-compose.yaml":
        document = yaml.safe_load((CONFIG / file).read_text())
        service = document["services"]["serving"]
        mounts = [volume.split(":")[1] for volume in service["volumes"]]
        return service["image"], service["command"], mounts
    deployment = next(yaml.safe_load_all((CONFIG / file).read_text()))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    return container["image"], container["args"], mounts


@pytest.mark.parametrize("file", ["docker-compose.yaml", "kubernetes.yaml"])
def test_containers_find_their_files(file):
    image, arguments, mounts = _container(file)
    assert image == "tensorflow/serving:2.20.0"
    flags = dict(flag.removeprefix("--").split("=") for flag in arguments)
    for flag in (
        "model_config_file",
        "batching_parameters_file",
        "monitoring_config_file",
    ):
        path = pathlib.PurePosixPath(flags[flag])
        assert str(path.parent) in mounts
        assert (CONFIG / path.name).exists()
    # Labels in models.config are looked at before any model is loaded.
    assert flags["allow_version_labels_for_unavailable_models"] == "true"
    # TF Serving reads the monitoring file only with REST.
    assert "rest_api_port" in flags
    for source in read_sources(CONFIG / "models.config"):
        assert str(source.base_path.parent) in mounts


def test_kubernetes_objects_refer_to_each_other():
    documents = yaml.safe_load_all((CONFIG / "kubernetes.yaml").read_text())
    by_kind = {document["kind"]: document for document in documents}
    deployment = by_kind["Deployment"]["spec"]
    pod = deployment["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    (container,) = pod["spec"]["containers"]
    assert set(container["resources"]) == {"requests", "limits"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == 8500
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert claims == [by_kind["PersistentVolumeClaim"]["metadata"]["name"]]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--model-base-path"),
        (["--model-base-path", "{tmp}/absent"], "is not a folder"),
        (
            ["--model-base-path", "{tmp}", "--batching-parameters-file", "x"],
            "--enable-batching",
        ),
        (
            ["--model-base-path", "{tmp}", "--monitoring-config-file", "x"],
            "--rest-api-port",
        ),
        (
            ["--model-base-path", "{tmp}", "--rest-api-timeout-in-ms", "0"],
            "--rest-api-timeout-in-ms",
        ),
        (["--model-base-path", "{tmp}", "--max-workers", "0"], "max-workers"),
        (
            ["--model-base-path", "{tmp}", "--rest-api-port", "70000"],
            "`--rest-api-port` must lie between 0 and 65535",
        ),
        *(
            (
                [
                    *("--model-base-path", "{tmp}"),
                    f"--file-system-poll-wait-seconds={seconds}",
                ],
                "`--file-system-poll-wait-seconds` must lie between",
            )
            for seconds in ("inf", "-inf", "nan", "1e10")
        ),
        (["--model-base-path", "{tmp}", "--max-workers", "513"], "max-workers"),
        (["--model-base-path", "{tmp}", "--port", "-1"], "--port"),
        (["--model-base-path", "{tmp}", "--max-rows", "0"], "--max-rows"),
        (
            ["--model-base-path", "{tmp}/questions/1"],
            "one version of a model. .* `{tmp}/questions`",
        ),
        (
            ["--model-base-path", "{tmp}/run"],
            "folder of a run. .* `{tmp}/run/saved_model`",
        ),
        (
            ["--model-config-file", "{tmp}/absent", "--model-name", "a"],
            "`--model-name` belongs to `--model-base-path`",
        ),
        (["--model-config-file", "{tmp}/no_path"], "no `base_path`"),
        (["--model-config-file", "{tmp}/relative"], "be an absolute path"),
        (["--model-config-file", "{tmp}/no_platform"], "`model_platform: "),
        (
            [
                *("--model-base-path", "{tmp}", "--enable-batching"),
                *("--batching-parameters-file", "{tmp}/splitting"),
            ],
            "does not split requests",
        ),
        (["--model-config-file", "{tmp}/absent"], "cannot be read"),
        (["--model-config-file", "{tmp}/wrong"], "ModelServerConfig"),
        (["--model-config-file", "{tmp}/empty"], "at least one model"),
        (
            ["--model-base-path", "{tmp}", "--ssl-config-file", "{tmp}/empty"],
            "content of a PEM file",
        ),
        (
            # The example's key and certificate are none.
            [
                *("--model-base-path", "{tmp}"),
                *("--ssl-config-file", str(CONFIG / "ssl.config")),
            ],
            "ssl.config`: no usable key",
        ),
        (
            [
                *("--model-base-path", "{tmp}"),
                *("--ssl-config-file", "{tmp}/verify"),
            ],
            "`client_verify` needs `custom_ca`",
        ),
        (
            [
                "--model-base-path",
                "{tmp}",
                "--enable-batching",
                "--batching-parameters-file",
                "{tmp}/zero",
            ],
            "max_batch_size",
        ),
    ],
)
def test_mistakes_are_told(arguments, message, tmp_path):
    (tmp_path / "wrong").write_text("models: 3")
    (tmp_path / "verify").write_text("client_verify: true")
    (tmp_path / "empty").write_text("")
    (tmp_path / "zero").write_text("max_batch_size { value: 0 }")
    (tmp_path / "no_path").write_text(
        'model_config_list { config { name: "a" } }'
    )
    for name, path in (("relative", "a"), ("no_platform", "/a")):
        (tmp_path / name).write_text(
            'model_config_list { config { name: "a" '
            f'base_path: "{path}" }} }}'
        )
    (tmp_path / "splitting").write_text(
        "enable_large_batch_splitting { value: true }"
    )
    (tmp_path / "run" / "saved_model" / "1").mkdir(parents=True)
    version = tmp_path / "questions" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    message = message.format(tmp=tmp_path)
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    with pytest.raises(UserError, match=message):
        parse_arguments(arguments)


def test_addresses_are_a_clients():
    assert address("127.0.0.1", 8500) == "127.0.0.1:8500"
    assert address("::1", 8500) == "[::1]:8500"


@pytest.mark.parametrize(
    "flags, workers",
    [
        ([], 16),
        (["--enable-batching"], 256),
        (
            [
                "--enable-batching",
                *(
                    "--batching-parameters-file",
                    str(CONFIG / "batching.config"),
                ),
            ],
            128,
        ),
        (["--enable-batching", "--max-workers", "3"], 3),
    ],
)
def test_batches_can_fill(tmp_path, flags, workers):
    _, options = parse_arguments(["--model-base-path", str(tmp_path), *flags])
    assert options.workers() == workers


def test_as_many_batches_as_processors():
    assert BatchingOptions().num_batch_threads == os.cpu_count()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"host": "nosuchhost.invalid"}, "`--host nosuchhost.invalid`"),
        # Of a network for documentation, so not this machine's.
        ({"host": "192.0.2.1"}, "`--host 192.0.2.1`"),
        ({"port": None}, "`--port {taken}`.*another port"),
        ({"port": 0, "rest_port": None}, "`--rest-api-port {taken}`"),
    ],
)
def test_addresses_are_tried_first(options, message):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = {
            name: port if value is None else value
            for name, value in options.items()
        }
        with pytest.raises(UserError, match=message.format(taken=port)):
            check_addresses(ServerOptions(**options))


def test_a_port_is_not_given_twice():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UserError, match="`--port` is the same"):
        check_addresses(ServerOptions(port=port, rest_port=port))
    check_addresses(ServerOptions(port=0, rest_port=0))


def test_free_addresses_are_left_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    check_addresses(ServerOptions(port=port, rest_port=0))
    check_addresses(ServerOptions(host="localhost", port=port))


def test_no_private_key_gets_into_the_config_map():
    for path in (CONFIG / "kubernetes.yaml", CONFIG.parent / "README.md"):
        text = path.read_text().replace("\\\n", "").replace("#", "")
        (command,) = re.findall("kubectl create configmap .*", text)
        files = re.findall(r"--from-file=(\S+)", command)
        names = {pathlib.PurePath(file).name for file in files}
        assert names == {
            *("models.config", "batching.config", "monitoring.config"),
        }


@pytest.mark.serving
def test_the_health_check_of_the_container(server):
    document = yaml.safe_load((CONFIG / "docker-compose.yaml").read_text())
    check = document["services"]["serving"]["healthcheck"]["test"]
    kind, *command = check
    assert kind == "CMD"

    def status(port, model):
        script = command[-1].replace("8501", str(port))
        script = script.replace("models/questions", f"models/{model}")
        return subprocess.run(
            [*command[:-1], script], capture_output=True, timeout=20
        ).returncode

    assert status(server.rest_port, "questions") == 0
    assert status(server.rest_port, "absent") != 0
    # Nobody listens there.
    assert status(1, "questions") != 0
