"""What listening takes: addresses, tried before anything slow, and files."""

import contextlib
import resource
import socket

from serving.command_line import UserError

# Every connection is an open file. Many systems let a process raise its own
# limit from 1,024; some set none, and then do not take the highest number.
_OPEN_FILES = 65536


def allow_many_connections():
    """Raises this process' limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # A limit that stays as it is, is no reason not to serve.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_addresses(options):
    """Tries the addresses of `ServerOptions`.

    Raises:
        UserError: If one cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(
            options.host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise _wrong_host(options.host, error) from error
    family, *_, address = found[0]
    ports = {"--port": options.port, "--rest-api-port": options.rest_port}
    # Each alone is free.
    if options.port == options.rest_port != 0:
        raise UserError(
            f"`--rest-api-port {options.rest_port}`: `--port` is the same. "
            "Choose another port, or 0 for a free one."
        )
    for flag, port in ports.items():
        if port is None:
            continue
        for number in (0, port):
            try:
                _try(family, (address[0], number, *address[2:]))
            except OSError as error:
                if number == 0:
                    raise _wrong_host(options.host, error) from error
                raise UserError(
                    f"`{flag} {port}`: {error}. Choose another port, or 0 for "
                    "a free one."
                ) from error


def _try(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        # What has just been closed is free.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind(address)


def _wrong_host(host, error):
    return UserError(
        f"`--host {host}`: {error}. Give an address of this machine, such as "
        "127.0.0.1, or 0.0.0.0 for all of them."
    )
