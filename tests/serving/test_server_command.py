"""The server as a command: TLS, several models, an orderly end."""

import datetime
import json
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest

from serving.grpc_client import Client

pytestmark = [pytest.mark.slow, pytest.mark.serving]


@pytest.fixture
def certificate(tmp_path):
    """Paths of a key and a certificate for localhost, signed by itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]
    )
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), False
        )
        .sign(key, hashes.SHA256())
    )
    key_path, certificate_path = tmp_path / "key.pem", tmp_path / "cert.pem"
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
    )
    return key_path, certificate_path


def test_several_models_over_tls(
    model_directory, start_server, certificate, tmp_path
):
    models = tmp_path / "models.config"
    models.write_text(
        "model_config_list {"
        + "".join(
            f'config {{ name: "{name}" base_path: "{model_directory}" '
            'model_platform: "tensorflow" }'
            for name in "ab"
        )
        + "}"
    )
    key, cert = (json.dumps(path.read_text()) for path in certificate)
    tls = tmp_path / "ssl.config"
    # It signed itself, so it is its own authority, for both sides.
    tls.write_text(
        f"server_key: {key} server_cert: {cert} custom_ca: {cert}"
        " client_verify: true"
    )
    _, addresses = start_server(
        *("--model-config-file", str(models), "--ssl-config-file", str(tls)),
        *("--rest-api-port", "0", "--host", "127.0.0.1"),
    )
    port = addresses["grpc"].rsplit(":", 1)[1]
    process = subprocess.run(
        [
            *(sys.executable, "-m", "serving.client", "--model", "b"),
            *("--target", f"localhost:{port}", "--tls"),
            *("--root-certificates", str(certificate[1])),
            *("--client-key", str(certificate[0])),
            *("--client-certificate", str(certificate[1]), "who wrote this"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(process.stdout)["text"] == "who wrote this"
    context = ssl.create_default_context(cafile=certificate[1])
    rest = addresses["rest"].rsplit(":", 1)[1]
    url = f"https://localhost:{rest}/v1/models/a"
    with pytest.raises(OSError):
        urllib.request.urlopen(url, context=context, timeout=20)
    context.load_cert_chain(certificate[1], certificate[0])
    with urllib.request.urlopen(url, context=context, timeout=20) as response:
        assert response.status == 200
    without_certificate = grpc.ssl_channel_credentials(
        certificate[1].read_bytes()
    )
    for credentials in (None, without_certificate):
        with (
            Client(
                *(f"localhost:{port}", "a"), retries=0, credentials=credentials
            ) as stranger,
            pytest.raises(grpc.RpcError),
        ):
            stranger.predict(["who"])


def test_requests_under_way_are_answered_before_the_end(
    model_directory, start_server
):
    process, addresses = start_server("--model-base-path", str(model_directory))
    answers = []
    with Client(addresses["grpc"], "questions", retries=0) as client:
        client.predict(["who"])
        thread = threading.Thread(
            target=lambda: answers.extend(client.predict(["what is " * 3000]))
        )
        thread.start()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        thread.join(60)
    assert len(answers) == 1
    assert process.wait(60) == 0


def test_a_rest_request_that_takes_too_long_is_given_up(
    model_directory, start_server
):
    _, addresses = start_server(
        *("--model-base-path", str(model_directory), "--rest-api-port", "0"),
        *("--rest-api-timeout-in-ms", "200"),
    )
    url = f"http://{addresses['rest']}/v1/models/questions:predict"
    body = json.dumps({"instances": ["what is " * 60_000]}).encode()
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url, body, timeout=60)
    assert raised.value.code == 504
    raised.value.close()


def test_a_taken_port_is_told(model_directory, server):
    process = subprocess.run(
        [
            *(sys.executable, "-m", "serving.server", "--model-base-path"),
            *(str(model_directory), "--port", str(server.port)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert f"--port {server.port}" in process.stderr
