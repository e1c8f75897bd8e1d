"""A proxy that hands bytes on and cuts the connection in the middle of them."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class CuttingProxy:
    """Hands bytes on in both directions between clients and a server.

    Args:
        target: Where the server listens.

    Attributes:
        address: Where the proxy listens.
        connections: Number of connections so far.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.connections = 0
        self._target = target
        self._cuts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        threading.Thread(target=self._run, daemon=True).start()

    def cut_after(self, *, sent: int | None = None, received: int | None = None) -> None:
        """Cuts one connection when a client has sent, or is to receive, so many more bytes."""
        with self._lock:
            self._cuts = {
                way: left
                for way, left in (("sent", sent), ("received", received))
                if left is not None
            }

    @property
    def has_cut(self) -> bool:
        """Whether all has been cut that was asked for."""
        return not self._cuts

    def close(self) -> None:
        """Takes no more connections."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            ways = [("sent", client, server), ("received", server, client)]
            threads = [
                threading.Thread(target=self._hand_on, args=way, daemon=True) for way in ways
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _hand_on(self, way: str, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16 * 1024):
                if self._is_cut(way, len(data)):
                    break
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _is_cut(self, way: str, size: int) -> bool:
        with self._lock:
            if way not in self._cuts:
                return False
            self._cuts[way] -= size
            if self._cuts[way] > 0:
                return False
            del self._cuts[way]
            return True
