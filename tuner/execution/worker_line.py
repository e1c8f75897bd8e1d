"""The controller's end of one worker: a socket for frames, and the output that it prints to."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

from tuner.execution.protocol import FrameReader

_RECV_BYTES = 64 * 1024  # beyond 128 KiB, malloc would map fresh pages at every call
_OUTPUT_BYTES = 64 * 1024

Handler = Callable[..., Any]


class WorkerLine:
    """A line that is never waited for: what it cannot take now is sent when it can.

    Args:
        selector: Watches it.
        on_message: The selector's data for the socket.
        on_output: The selector's data for the output.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        on_message: Handler,
        on_output: Handler | None = None,
    ) -> None:
        self._selector = selector
        self._on_message = on_message
        self._on_output = on_output
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._socket: socket.socket | None = None
        self._output: int | None = None
        self.is_open = True

    def connect(self, sock: socket.socket) -> None:
        """Gives it the socket to the worker, which gets what was sent so far."""
        if not self.is_open:
            sock.close()
            return
        sock.setblocking(False)
        self._socket = sock
        self._selector.register(sock, selectors.EVENT_READ, self._on_message)
        if self._unsent:
            self._watch(selectors.EVENT_READ | selectors.EVENT_WRITE)

    def connect_output(self, output: int) -> None:
        """Gives it the descriptor from which to read what the worker prints."""
        if not self.is_open:
            os.close(output)
            return
        os.set_blocking(output, False)
        self._output = output
        self._selector.register(output, selectors.EVENT_READ, self._on_output)

    def close(self) -> None:
        """Closes both."""
        self._close_socket()
        self._close_output()

    def send(self, message: bytes) -> None:
        """Sends a frame, or the rest of it later; a worker that is gone is noticed by its exit."""
        if not self.is_open:
            return
        if self._socket is None:
            self._unsent += message
            return
        try:
            sent = 0 if self._unsent else self._socket.send(message)
        except BlockingIOError:
            sent = 0
        except OSError:
            return
        if sent < len(message):  # a large configuration, and a worker that still starts
            self._unsent += message[sent:]
            self._watch(selectors.EVENT_READ | selectors.EVENT_WRITE)

    def receive(self) -> list[tuple[int, bytes]] | None:
        """The frames that have come, None if nothing is to be read."""
        if self._socket is None:
            return None
        if self._unsent:
            self._send_rest(self._socket)
        try:
            data = self._socket.recv(_RECV_BYTES)
        except BlockingIOError:
            return None
        except OSError:  # the worker is gone, or what connected it
            data = b""
        if not data:
            self._close_socket()
            return None
        return self._reader.feed(data)

    def read_output(self) -> bytes | None:
        """What the worker has printed, None if nothing is to be read."""
        if self._output is None:
            return None
        try:
            data = os.read(self._output, _OUTPUT_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self._close_output()
            return None
        return data

    def _send_rest(self, sock: socket.socket) -> None:
        try:
            del self._unsent[: sock.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
        if not self._unsent:
            self._watch(selectors.EVENT_READ)

    def _watch(self, events: int) -> None:
        assert self._socket is not None
        self._selector.modify(self._socket, events, self._on_message)

    def _close_socket(self) -> None:
        self.is_open = False
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _close_output(self) -> None:
        if self._output is not None:
            self._selector.unregister(self._output)
            os.close(self._output)
            self._output = None
