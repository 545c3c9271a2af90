"""The HTTP server of the REST interface."""

import contextlib
import http.server
import io
import json
import logging
import socket
import threading
import time

from serving.http_bodies import BodyError, read_body

# Seconds after which a connection that says nothing is closed, and those that
# a request may take to arrive from its first byte.
_IDLE_SECONDS = 30
_ARRIVAL_SECONDS = 60

# Connections at a time, each with a thread. As many more are told that there
# is no room; beyond that they are closed.
_MAX_CONNECTIONS = 256
_NO_ROOM = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: application/json\r\nContent-Length: 34\r\n"
    b"Connection: close\r\n\r\n"
    b'{"error": "Too many connections."}'
)

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


class _Arriving(io.RawIOBase):
    """Reads a connection, whose requests have to arrive in time."""

    def __init__(self, connection):
        self._connection = connection
        self._end = None

    def await_request(self):
        """Makes the next byte the first of a request."""
        self._end = None

    def readable(self):
        """Whether it can be read, see the base class."""
        return True

    def readinto(self, buffer):
        """Reads what there is; raises `TimeoutError` if it comes too late."""
        if self._end is None:
            seconds = _IDLE_SECONDS
        else:
            seconds = self._end - time.monotonic()
            if seconds <= 0:
                raise TimeoutError("The request took too long to arrive.")
        self._connection.settimeout(seconds)
        size = self._connection.recv_into(buffer)
        if self._end is None:
            self._end = time.monotonic() + _ARRIVAL_SECONDS
        return size


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
        refusals = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._under_way = under_way = _UnderWay()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                self._arriving = _Arriving(self.connection)
                self.rfile = io.BufferedReader(self._arriving)

            def handle_one_request(self):
                self._arriving.await_request()
                super().handle_one_request()

            def _with_body(self):
                # A GET's means nothing, but the next request is after it.
                try:
                    body = read_body(self.headers, self.rfile, max_bytes)
                except BodyError as error:
                    self.close_connection = True
                    self._refuse(error.status, str(error))
                    return _linger(self.connection)
                return self._answer(body)

            do_GET = do_POST = do_HEAD = do_PUT = do_PATCH = _with_body
            do_DELETE = do_OPTIONS = _with_body

            def _answer(self, body):
                with under_way.request() as counted:
                    if counted:
                        self._reply(*api.answer(self.command, self.path, body))
                    else:
                        self._refuse(503, "The server is stopping.")

            def _refuse(self, status, text):
                content = json.dumps({"error": text}).encode("utf-8")
                self._reply(status, "application/json", content)

            def _reply(self, status, content_type, content):
                self.connection.settimeout(_IDLE_SECONDS)
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(content)))
                if under_way.closed or self.close_connection:
                    # Ends the connection here, too.
                    self.send_header("Connection", "close")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, format, *values):
                logging.debug(format, *values)

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 128

            def process_request(self, request, client_address):
                free = connections.acquire(blocking=False)
                if not free and not (
                    ssl_context is None and refusals.acquire(blocking=False)
                ):
                    self.shutdown_request(request)
                    return
                work = self.process_request_thread if free else self.refuse
                try:
                    threading.Thread(
                        target=work, args=(request, client_address), daemon=True
                    ).start()
                except RuntimeError:
                    # No thread, so nobody else gives the place back.
                    (connections if free else refusals).release()
                    raise

            def refuse(self, request, client_address):
                try:
                    with contextlib.suppress(OSError):
                        request.settimeout(_LINGER_SECONDS)
                        request.sendall(_NO_ROOM)
                        _linger(request)
                finally:
                    self.shutdown_request(request)
                    refusals.release()

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


def _linger(connection):
    """Lets a client that is still sending read its answer.

    Closing with bytes unread resets the connection, and the answer is lost
    with it (RFC 9112 section 9.6).
    """
    end = time.monotonic() + _LINGER_SECONDS
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (seconds := end - time.monotonic()) > 0:
            connection.settimeout(seconds)
            if not connection.recv(65536):
                return
