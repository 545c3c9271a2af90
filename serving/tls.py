"""The server's side of TLS, over gRPC and over REST."""

import os
import ssl
import tempfile


def grpc_credentials(config):
    """Returns `grpc.ServerCredentials` of an `SSLConfig` message."""
    import grpc

    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def ssl_context(config):
    """Returns the `ssl.SSLContext` of an `SSLConfig` message.

    Raises:
        ValueError: If `ssl` cannot use it.
    """
    try:
        return _context(config)
    # The latter is of certificates that are not ASCII.
    except (OSError, TypeError) as error:
        raise ValueError(f"no usable key and certificates: {error}") from error


def _context(config):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        # `ssl` reads keys from files only.
        files = []
        for name in ("server_cert", "server_key"):
            path = os.path.join(directory, name)
            # The key is nobody else's to read.
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
                f.write(getattr(config, name))
            files.append(path)
        # Or a key with a password would be asked for on the terminal.
        certificate, key = files
        context.load_cert_chain(certificate, key, password="")
    if config.custom_ca:
        context.load_verify_locations(cadata=config.custom_ca)
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
