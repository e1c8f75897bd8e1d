"""What the file server and its clients say to each other over a connection.

A request is a header. A `write` is followed by chunks and an empty one. The answer is a header;
that of a `read` is followed by as many bytes as it says. A `write` that fails is answered at once,
so that the client can stop sending.
"""

from __future__ import annotations

import contextlib
import errno
import json
import select
import socket
import struct
from collections.abc import Iterator
from typing import Any

CHUNK = 1024 * 1024
"""Bytes of a chunk at most, which is what either end keeps of a file in memory."""

_LENGTH = struct.Struct("!I")
_SENT_AT_ONCE = 64 * 1024  # copying so much costs less than another packet
_BUFFER = 64 * 1024


class ConnectionLost(ConnectionError):
    """The connection broke, or the other end said nothing for too long."""


class Secret(bytes):
    """What both ends of a connection know, and no log shows."""

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


class Line:
    """One end of a connection; its methods raise `ConnectionLost`, whatever becomes of that.

    Args:
        sock: A connected stream socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pending = b""
        self._reader = sock.makefile("rb", _BUFFER)
        self._ready = select.poll()
        self._ready.register(sock, select.POLLIN)

    def send(self, header: dict[str, Any]) -> None:
        """Sends a header."""
        with _explained():
            self._sock.sendall(_packed(header))

    def begin(self, header: dict[str, Any]) -> None:
        """Sends a header that is followed by chunks; small ones travel with it."""
        self._pending = _packed(header)

    def add(self, chunk: bytes) -> None:
        """Sends a chunk, at most `CHUNK` bytes and at least one."""
        self._pending += _LENGTH.pack(len(chunk))
        is_small = len(chunk) < _SENT_AT_ONCE
        if is_small:
            self._pending += chunk
        if not is_small or len(self._pending) >= _SENT_AT_ONCE:
            self._flush()
        if not is_small:
            with _explained():
                self._sock.sendall(chunk)

    def end(self) -> None:
        """Sends the last, empty chunk."""
        self._pending += _LENGTH.pack(0)
        self._flush()

    def send_file(self, file: Any, start: int, size: int) -> None:
        """Sends a part of a file as it is."""
        with _explained():
            if size and self._sock.sendfile(file, start, size) < size:
                raise ConnectionLost("the file has become shorter")

    def receive(self) -> dict[str, Any] | None:
        """Waits for a header; None when the other end has closed the connection."""
        with _explained():
            head = self._reader.read(_LENGTH.size)
            if not head:
                return None
            header: dict[str, Any] = json.loads(self._exactly(_LENGTH.unpack(head)[0]))
            return header

    def answer(self) -> dict[str, Any]:
        """Waits for the header that answers a request."""
        answer = self.receive()
        if answer is None:
            raise ConnectionLost("the other end has closed the connection")
        return answer

    def receive_chunk(self) -> bytes:
        """Waits for a chunk; an empty one is the last."""
        with _explained():
            (size,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
            if size > CHUNK:
                raise ConnectionLost(f"a chunk of {size} bytes is too large")
            return self._exactly(size)

    def receive_bytes(self, size: int) -> Iterator[bytes]:
        """So many bytes, in pieces."""
        while size:
            with _explained():
                piece = self._exactly(min(size, CHUNK))
            size -= len(piece)
            yield piece

    def has_answer(self) -> bool:
        """Whether the other end has said something, or is gone."""
        return bool(self._ready.poll(0))

    def close(self) -> None:
        """Ends the connection, also if a forked process still holds it."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._reader.close()
        self._sock.close()

    def _flush(self) -> None:
        pending, self._pending = self._pending, b""
        with _explained():
            self._sock.sendall(pending)

    def _exactly(self, size: int) -> bytes:
        data: bytes = self._reader.read(size)
        if len(data) < size:
            raise ConnectionLost("the other end has closed the connection")
        return data


def error_answer(error: OSError) -> dict[str, Any]:
    """The answer to a request that failed."""
    number = error.errno or errno.EIO
    return {"error": [number, error.strerror or str(error), error.filename]}


def raise_error(answer: dict[str, Any]) -> None:
    """Raises the error that an answer tells of, of the same class as on the other side."""
    if "error" in answer:
        raise OSError(*answer["error"])


def _packed(header: dict[str, Any]) -> bytes:
    content = json.dumps(header).encode()
    return _LENGTH.pack(len(content)) + content


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ConnectionLost:
        raise
    except (OSError, ValueError) as error:
        raise ConnectionLost(f"the connection broke: {error!r}") from error
