"""The HTTP server of the REST interface."""

import contextlib
import http.server
import json
import logging
import socket
import threading
import time

# Seconds after which a connection that says nothing is closed, and how many
# there may be: each has a thread.
_IDLE_SECONDS = 30
_MAX_CONNECTIONS = 256

# Seconds for which the rest of a refused body is read and dropped.
_LINGER_SECONDS = 5


class _UnderWay:
    """Counts the requests that are being answered, until it is closed."""

    def __init__(self):
        self._changed = threading.Condition()
        self._count = 0
        self.closed = False

    @contextlib.contextmanager
    def request(self):
        """Counts a request; yields whether it may still be answered."""
        with self._changed:
            counted = not self.closed
            self._count += counted
        try:
            yield counted
        finally:
            with self._changed:
                self._count -= counted
                self._changed.notify_all()

    def close(self, seconds):
        """Counts no more requests and waits for those that are counted."""
        with self._changed:
            self.closed = True
            self._changed.wait_for(lambda: self._count == 0, seconds)


class RestServer:
    """Serves a `RestApi` over HTTP/1.1, with or without TLS.

    Args:
        api: `RestApi`.
        address: `(host, port)`.
        max_bytes: Int, size of a request's body at most.
        ssl_context: Optional `ssl.SSLContext`.
    """

    def __init__(self, api, address, max_bytes, ssl_context=None):
        connections = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._under_way = under_way = _UnderWay()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = _IDLE_SECONDS

            def do_GET(self):
                self._answer("GET")

            def do_POST(self):
                try:
                    length = int(self.headers.get("Content-Length", ""))
                except ValueError:
                    length = -1
                if not 0 <= length <= max_bytes:
                    self.close_connection = True
                    status = 411 if length < 0 else 413
                    self._refuse(
                        status,
                        f"This server reads bodies of 0 to {max_bytes} bytes.",
                    )
                    return self._linger()
                return self._answer("POST", self.rfile.read(length))

            def _answer(self, method, body=b""):
                with under_way.request() as counted:
                    if counted:
                        self._reply(*api.answer(method, self.path, body))
                    else:
                        self._refuse(503, "The server is stopping.")

            def _refuse(self, status, text):
                content = json.dumps({"error": text}).encode("utf-8")
                self._reply(status, "application/json", content)

            def _reply(self, status, content_type, content):
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(content)))
                if under_way.closed:
                    # Ends the connection here, too.
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            def _linger(self):
                """Lets a client that is still sending read its answer.

                Closing with bytes unread resets the connection, and the
                answer is lost with it (RFC 9112 section 9.6).
                """
                end = time.monotonic() + _LINGER_SECONDS
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_WR)
                    while (seconds := end - time.monotonic()) > 0:
                        self.connection.settimeout(seconds)
                        if not self.rfile.read1():
                            return

            def log_message(self, format, *values):
                logging.debug(format, *values)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def process_request(self, request, client_address):
                if not connections.acquire(blocking=False):
                    self.shutdown_request(request)
                    return
                super().process_request(request, client_address)

            def process_request_thread(self, request, client_address):
                try:
                    if ssl_context is not None:
                        request.settimeout(_IDLE_SECONDS)
                        request = ssl_context.wrap_socket(
                            request, server_side=True
                        )
                    super().process_request_thread(request, client_address)
                except OSError as error:
                    logging.debug("%s: %s", client_address, error)
                    request.close()
                finally:
                    connections.release()

            def handle_error(self, request, client_address):
                logging.debug("%s broke off", client_address, exc_info=True)

        if ":" in address[0]:
            Server.address_family = socket.AF_INET6
        self._server = Server(address, Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, daemon=True
        )

    def start(self):
        """Answers requests in threads of its own."""
        self._thread.start()

    def stop(self, grace_seconds):
        """Takes no more requests and waits for those under way.

        Args:
            grace_seconds: Float, how long at most.
        """
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._under_way.close(grace_seconds)
