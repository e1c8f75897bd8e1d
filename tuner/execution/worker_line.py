"""The controller's end of one worker: a socket for frames, and the pipe that it prints to."""

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
        on_output: The selector's data for the pipe.
    """

    def __init__(
        self, selector: selectors.BaseSelector, on_message: Handler, on_output: Handler
    ) -> None:
        self._selector = selector
        self._on_message = on_message
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._socket, self.remote_socket = socket.socketpair()
        self._output, self.remote_output = os.pipe()
        self._socket.setblocking(False)
        os.set_blocking(self._output, False)
        selector.register(self._socket, selectors.EVENT_READ, on_message)
        selector.register(self._output, selectors.EVENT_READ, on_output)
        self.is_open = True
        self._output_is_open = True

    def close_remote(self) -> None:
        """Closes the worker's ends here, once the worker has them."""
        self.remote_socket.close()
        os.close(self.remote_output)

    def close(self) -> None:
        """Closes both."""
        self._close_socket()
        self._close_output()

    def send(self, message: bytes) -> None:
        """Sends a frame, or the rest of it later; a worker that is gone is noticed by its exit."""
        if not self.is_open:
            return
        try:
            sent = 0 if self._unsent else self._socket.send(message)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            return
        if sent < len(message):  # a large configuration, and a worker that still starts
            self._unsent += message[sent:]
            self._watch(selectors.EVENT_READ | selectors.EVENT_WRITE)

    def receive(self) -> list[tuple[int, bytes]] | None:
        """The frames that have come, None if nothing is to be read."""
        if not self.is_open:
            return None
        if self._unsent:
            self._send_rest()
        try:
            data = self._socket.recv(_RECV_BYTES)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            data = b""
        if not data:
            self._close_socket()
            return None
        return self._reader.feed(data)

    def read_output(self) -> bytes | None:
        """What the worker has printed, None if nothing is to be read."""
        if not self._output_is_open:
            return None
        try:
            data = os.read(self._output, _OUTPUT_BYTES)
        except BlockingIOError:
            return None
        if not data:
            self._close_output()
            return None
        return data

    def _send_rest(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()
        if not self._unsent:
            self._watch(selectors.EVENT_READ)

    def _watch(self, events: int) -> None:
        self._selector.modify(self._socket, events, self._on_message)

    def _close_socket(self) -> None:
        if self.is_open:
            self.is_open = False
            self._selector.unregister(self._socket)
            self._socket.close()

    def _close_output(self) -> None:
        if self._output_is_open:
            self._output_is_open = False
            self._selector.unregister(self._output)
            os.close(self._output)
