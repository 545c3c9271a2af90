"""Asks a served classifier.

    python -m serving.client --target HOST:PORT --model NAME TEXT...

Texts come from the command line, from `--file` (one a line) or, with `-`,
from standard input. Answers are JSON lines on standard output, in the order
of the texts. With `--load-test SECONDS` the texts are sent again and again
and one JSON object with throughput and latencies is printed.
"""

import argparse
import codecs
import json
import pathlib
import re
import sys

import grpc

from serving import command_line
from serving.grpc_client import Client, load_test

_POSITIVE = (
    *("batch_size", "max_in_flight", "timeout_seconds"),
    *("load_test", "rate"),
)
# Versions are int64 on the wire; gRPC takes an endless time for none.
# Each request in flight is a thread, and a load test keeps every latency: a
# day, and more requests a second than Python sends.
_MOST = {
    "version": (1 << 63) - 1,
    "retries": (1 << 31) - 1,
    "timeout_seconds": 10**9,
    "max_in_flight": 1000,
    "load_test": 24 * 3600,
    "rate": 10_000,
}
# How gRPC's own words begin when nobody was there to answer.
_UNREACHED = ("failed to connect", "errors resolving", "DNS resolution failed")


def main(argv):
    """Asks as the arguments say; returns the load test's figures, if any."""
    arguments = _parser().parse_args(argv)
    _check_target(arguments.target)
    _check_name(arguments.model)
    _check_numbers(arguments)
    with Client(
        arguments.target,
        arguments.model,
        version=arguments.version,
        timeout_seconds=arguments.timeout_seconds,
        retries=arguments.retries,
        credentials=_credentials(arguments),
    ) as client:
        try:
            if arguments.load_test is not None:
                return _load_test(client, arguments)
            _print_answers(client, arguments)
        except grpc.RpcError as error:
            raise command_line.UserError(
                f"{arguments.target} {_outcome(error)}"
            ) from error
        except BrokenPipeError:
            # Whoever read the answers has seen enough.
            sys.stdout = None
    return None


def _outcome(error):
    """Says what came of a failed call; of some gRPC itself gives the status."""
    if error.code() is grpc.StatusCode.UNAVAILABLE and (
        error.details().startswith(_UNREACHED)
    ):
        return f"could not be reached: {error.details()}"
    return f"answered {error.code().name}: {error.details()}"


def _check_target(target):
    port = re.search(r":(\d+)$", target)
    # gRPC would take what is left of it in 16 bits.
    if port and not 1 <= int(port[1]) <= 65535:
        raise _wrong("target", "must have a port from 1 to 65535", target)


def _check_name(model):
    try:
        model.encode()
    except UnicodeEncodeError:
        # Bytes of the command line that are no text.
        raise _wrong("model", "must be UTF-8", ascii(model)) from None


def _check_numbers(arguments):
    for name in _POSITIVE:
        value = getattr(arguments, name)
        # What is no number is not positive, either.
        if value is not None and not value > 0:
            raise _wrong(name, "must be positive", value)
    for name, most in _MOST.items():
        value = getattr(arguments, name)
        if value is not None and not 0 <= value <= most:
            raise _wrong(name, f"must lie between 0 and {most}", value)
    for name, needed in (("rate", "load_test"), ("arrivals", "rate")):
        if getattr(arguments, name) is not None and (
            getattr(arguments, needed) is None
        ):
            raise command_line.UserError(
                f"`{_flag(name)}` needs `{_flag(needed)}`."
            )


def _flag(name):
    return "--" + name.replace("_", "-")


def _wrong(name, what, value):
    return command_line.UserError(f"`{_flag(name)}` {what}. Received: {value}.")


def _print_answers(client, arguments):
    if hasattr(sys.stdout, "reconfigure"):
        # Texts are in any language, whatever the terminal's encoding is.
        sys.stdout.reconfigure(encoding="utf-8")
    answers = client.predict_stream(
        _texts(arguments),
        batch_size=arguments.batch_size,
        max_in_flight=arguments.max_in_flight,
    )
    for text, prediction in answers:
        line = {
            "text": text.decode("utf-8", errors="replace"),
            "label": prediction.label,
            "probabilities": prediction.probabilities,
        }
        print(json.dumps(line, ensure_ascii=False), flush=True)


def _load_test(client, arguments):
    texts = list(_texts(arguments))
    if not texts:
        raise command_line.UserError("A load test needs at least one text.")
    size = arguments.batch_size
    batches = [texts[i : i + size] for i in range(0, len(texts), size)]
    client.predict(batches[0])
    return load_test(
        client,
        batches,
        arguments.load_test,
        arguments.max_in_flight,
        arguments.rate,
        arguments.arrivals or "constant",
    )


def _texts(arguments):
    """Yields the texts as bytes: a file may hold invalid UTF-8."""
    if bool(arguments.text) == (arguments.file is not None):
        raise command_line.UserError(
            "Give texts, or a file with one a line by `--file`, not both."
        )
    if arguments.text:
        yield from (
            text.encode("utf-8", "surrogateescape") for text in arguments.text
        )
        return
    try:
        if arguments.file == "-":
            yield from _lines(sys.stdin.buffer, "-")
            return
        with open(arguments.file, "rb") as file:
            yield from _lines(file, arguments.file)
    except OSError as error:
        raise command_line.UserError(f"`--file`: {error}") from error


def _lines(file, name):
    """Yields lines without their ends and without UTF-8's mark."""
    for index, line in enumerate(file):
        if index == 0:
            if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise command_line.UserError(
                    f"`--file {name}` is encoded as UTF-16. Expected: UTF-8. "
                    "Convert it: iconv -f UTF-16 -t UTF-8."
                )
            line = line.removeprefix(codecs.BOM_UTF8)
        yield line.rstrip(b"\r\n")


def _credentials(arguments):
    given = [
        _flag(name)
        for name in ("root_certificates", "client_key", "client_certificate")
        if getattr(arguments, name) is not None
    ]
    if not arguments.tls:
        if given:
            raise command_line.UserError(
                f"`{given[0]}` needs `--tls`: without it texts would be sent "
                "in plain text."
            )
        return None
    # gRPC ends the process where one is missing.
    if (arguments.client_key is None) != (arguments.client_certificate is None):
        raise command_line.UserError(
            "Give both of `--client-key` and `--client-certificate`, or none."
        )

    def content(name):
        path = getattr(arguments, name)
        if path is None:
            return None
        try:
            read = pathlib.Path(path).read_bytes()
        except OSError as error:
            raise command_line.UserError(f"`{_flag(name)}`: {error}") from error
        if b"-----BEGIN" not in read:
            raise command_line.UserError(
                f"`{_flag(name)} {path}` is no PEM file."
            )
        return read

    return grpc.ssl_channel_credentials(
        content("root_certificates"),
        content("client_key"),
        content("client_certificate"),
    )


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m serving.client",
        description="Asks a served classifier over gRPC.",
        formatter_class=command_line.HelpFormatter,
    )
    add = parser.add_argument
    add("text", nargs="*", metavar="TEXT", help="what to classify")
    add("--target", required=True, metavar="HOST:PORT", help="the server")
    add("--model", required=True, help="the model's name")
    add("--version", type=int, help="by default the latest")
    add("--file", help="texts, one a line; - for standard input")
    add("--batch-size", type=int, default=32, help="texts in a request")
    add("--max-in-flight", type=int, default=4, help="requests at a time")
    add(
        "--timeout-seconds",
        type=float,
        default=30.0,
        help="for a request with its retries",
    )
    add(
        "--retries",
        type=int,
        help="when UNAVAILABLE; by default until the time is up",
    )
    add("--tls", action="store_true", help="encrypt; implied by nothing else")
    add("--root-certificates", help="PEM file; by default gRPC's own")
    add("--client-key", help="PEM file")
    add("--client-certificate", help="PEM file")
    add(
        "--load-test",
        type=float,
        metavar="SECONDS",
        help="send the texts over and over for so long, and measure",
    )
    add(
        "--rate",
        type=float,
        help="requests a second of the load test; by default as many as "
        "--max-in-flight callers get answered",
    )
    add(
        "--arrivals",
        choices=("constant", "poisson"),
        help="gaps between the requests of --rate, by default constant",
    )
    return parser


if __name__ == "__main__":
    command_line.run(main)
