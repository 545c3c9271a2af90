"""A development server with TF Serving's protocol.

    python -m serving.server --model-base-path DIR --port 8500

Loads SavedModels the way TF Serving does and answers its gRPC and REST
calls. For production use TF Serving itself; serving/README.md says how.
"""

import json
import logging
import signal
import threading

from serving import command_line
from serving.loopback import is_loopback


def main(argv):
    """Serves as the arguments say until SIGINT or SIGTERM."""
    # TensorFlow takes seconds to import; `--help` does without.
    from serving.listening import allow_many_connections, check_addresses
    from serving.memory import return_large_blocks
    from serving.model_server import Server, address
    from serving.server_arguments import parse_arguments

    sources, options = parse_arguments(argv)
    check_addresses(options)
    allow_many_connections()
    return_large_blocks()
    if options.tls is None and not is_loopback(options.host):
        logging.warning(
            "Listening on %s without TLS: whoever reaches this machine can "
            "send requests.",
            options.host,
        )
    server = Server(sources, options)
    stopped = threading.Event()

    def stop(*_):
        if stopped.is_set():
            # Whoever asks twice is in a hurry.
            raise KeyboardInterrupt
        stopped.set()
        server.interrupt()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        server.start()
        if not stopped.is_set():
            # Scripts wait for this line; `--port 0` is told here.
            ready = {"grpc": address(options.host, server.port)}
            if server.rest_port is not None:
                ready["rest"] = address(options.host, server.rest_port)
            print(json.dumps(ready), flush=True)
        stopped.wait()
    finally:
        try:
            logging.info("Stopping.")
            server.stop()
        except KeyboardInterrupt:
            server.stop(0)


if __name__ == "__main__":
    command_line.run(main)
