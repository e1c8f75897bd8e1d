"""A proxy in front of a storage server that fails as networks and clouds do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self

Failure = Literal["503", "reset", "lost"]


class FlakyProxy:
    """Hands requests on to a server on this machine until it is told otherwise.

    Args:
        target: The server's port on 127.0.0.1.
        latency_s: Seconds that each request takes on its way.

    Attributes:
        port: Where the proxy listens on 127.0.0.1; it stays the same.
        bytes_received: Length of all request bodies so far, those of failed requests among them.
        requests: Number of requests so far; a connection that was refused is none.
        failures: Number of requests that were failed or left hanging.
        most_at_once: How many requests were under way at the same time, at most.

    Example:
        >>> with FlakyProxy(port) as proxy:  # doctest: +SKIP
        ...     proxy.refuse()
        ...     threading.Timer(20, proxy.heal).start()
    """

    def __init__(self, target: int, latency_s: float = 0.0) -> None:
        self.target = target
        self.latency_s = latency_s
        self.bytes_received = 0
        self.requests = 0
        self.failures = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._every: int | None = None
        self._failure: Failure = "503"
        self._healthy = threading.Event()
        self._healthy.set()
        self._closed: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._server = self._listen(_bound(0))
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        """What a client takes for the server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def fail_every(self, n: int, failure: Failure = "503") -> None:
        """From now on every `n`-th request fails: answered with HTTP 503, or the connection reset.

        Such a request does not reach the server; its body was received. With `"lost"` it reaches
        the server, and its answer is lost.
        """
        with self._lock:
            self._every, self._failure = n, failure

    def hang(self) -> None:
        """From now on no request is answered; those that hang are reset when it heals."""
        self._healthy.clear()

    def refuse(self) -> None:
        """From now on connections are refused, and the open ones are reset."""
        with self._lock:
            if self._closed is not None:
                return
            self._stop_listening()
            self._closed = _bound(self.port)  # keeps the port; nobody listens, so it refuses
            for connection in self._connections:
                _break(connection)

    def heal(self) -> None:
        """From now on requests are handed on again."""
        with self._lock:
            self._every = None
            self._healthy.set()
            if self._closed is not None:
                self._server, self._closed = self._listen(self._closed), None

    def close(self) -> None:
        """Ends the proxy."""
        self.heal()
        with self._lock:
            self._stop_listening()
            for connection in self._connections:
                _break(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def received(self, body: bytes) -> Failure | None:
        """Counts a request; waits while the proxy hangs.

        Returns:
            How the request is to fail, None if it is to be handed on.
        """
        with self._lock:
            self.requests += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.bytes_received += len(body)
            fails = self._every is not None and self.requests % self._every == 0
            hangs = not self._healthy.is_set()
            self.failures += fails or hangs
            failure = self._failure
        if hangs:
            self._healthy.wait()
            return "reset"
        return failure if fails else None

    def served(self) -> None:
        """Notes that a request that was counted is over."""
        with self._lock:
            self._at_once -= 1

    def opened(self, connection: socket.socket) -> None:
        """Notes an open connection."""
        with self._lock:
            self._connections.add(connection)
            if self._closed is not None:
                _break(connection)

    def ended(self, connection: socket.socket) -> None:
        """Forgets a connection."""
        with self._lock:
            self._connections.discard(connection)

    def _listen(self, bound: socket.socket) -> _Server:
        bound.listen(128)
        server = _Server(bound, self)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    def _stop_listening(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Serves on a socket that listens already."""

    block_on_close = False

    def __init__(self, listening: socket.socket, proxy: FlakyProxy) -> None:
        super().__init__(listening.getsockname(), _Request, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_address = listening.getsockname()
        self.proxy = proxy

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Closes a connection at once; the usual way says goodbye first, a reset does not."""
        request.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what tests are about, and nothing to print."""


class _Request(BaseHTTPRequestHandler):
    """One connection, with one request after the other."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.proxy.opened(self.connection)

    def finish(self) -> None:
        self.server.proxy.ended(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        body = self._body()
        failure = self.server.proxy.received(body)
        time.sleep(self.server.proxy.latency_s)
        try:
            if failure == "reset":
                self.close_connection = True
                _reset_when_closed(self.connection)
            elif failure == "503":
                self._answer(503, [], b"")
            else:
                self._hand_on(body, answers=failure is None)
        finally:
            self.server.proxy.served()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self._read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return body

    def _read(self, size: int) -> bytes:
        content = self.rfile.read(size)
        if len(content) < size:
            raise ConnectionError("the client went away in the middle of a request")
        return content

    def _hand_on(self, body: bytes, *, answers: bool) -> None:
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("connection", "expect", "transfer-encoding", "content-length")
        }
        target = HTTPConnection("127.0.0.1", self.server.proxy.target, timeout=60)
        try:
            headers["Content-Length"] = str(len(body))
            target.request(self.command, self.path, body, headers)
            response = target.getresponse()
            content = response.read()
            if answers:
                self._answer(response.status, response.getheaders(), content)
            else:
                self.close_connection = True
                _reset_when_closed(self.connection)
        except HTTPException:
            self._answer(502, [], b"")
        finally:
            target.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _reset_when_closed(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _break(connection: socket.socket) -> None:
    """Ends a connection that another thread may be reading from or writing to."""
    with contextlib.suppress(OSError):
        _reset_when_closed(connection)
        connection.shutdown(socket.SHUT_RDWR)
