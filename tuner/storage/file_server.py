"""The controller's side of the file server, through which other nodes reach a local experiment."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from tuner.interpreter import python_command
from tuner.storage.served_protocol import Secret

if TYPE_CHECKING:
    from tuner.handshake import Address
    from tuner.storage.served_files import ServedFileSystem

logger = logging.getLogger(__name__)

_MODULE = "tuner.storage.file_service"
_MAX_REVIVALS = 10
_KILL_AFTER_S = 2.0


class FileServer:
    """A process that serves a folder of this machine to workers on others.

    It starts when its address is first asked for; nobody waits for it, as connections wait in the
    socket, which is the controller's. One that was killed can thus be started again in its place.

    Args:
        root: The folder; nothing outside of it is served, and no other server may serve it.
        host: Address of this machine that others reach it by.
        secret: What who connects has to know.

    Attributes:
        modules: Names of modules that workers on other nodes need to send files: a fork server
            imports them before.
    """

    modules = (
        "tenacity",
        "tuner.execution.sent_checkpoint_store",
        "tuner.execution.sent_files",
        "tuner.storage.served_files",
    )

    def __init__(self, root: str, host: str, secret: bytes) -> None:
        self._root = os.path.abspath(root)
        self._host = host
        self._secret = Secret(secret)
        self._lock = threading.Lock()
        self._listening: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._num_revivals = _MAX_REVIVALS

    @property
    def address(self) -> Address:
        """Where to connect to."""
        with self._lock:
            if self._listening is None:
                self._listening = socket.create_server((self._host, 0), backlog=1024)
                self._process = self._start(self._listening)
            address: Address = self._listening.getsockname()[:2]
            return address

    @property
    def filesystem(self) -> ServedFileSystem:
        """What workers reach the folder through; a path on it is the path on this machine."""
        from tuner.storage.served_files import ServedFileSystem  # a part that few need

        return ServedFileSystem(*self.address, self._secret)

    @property
    def pid(self) -> int | None:
        """The process's id, None if it was not needed so far."""
        return None if self._process is None else self._process.pid

    def revive(self) -> None:
        """Starts the process again if it was killed; clients connect again."""
        with self._lock:
            if self._listening is None or self._process is None or self._process.poll() is None:
                return
            if self._num_revivals:
                self._num_revivals -= 1
                logger.warning("the file server died and is started again")
                _close_stdin(self._process)
                self._process = self._start(self._listening)

    def close(self) -> None:
        """Ends it, whoever is connected."""
        with self._lock:
            if self._listening is not None:
                self._listening.close()
            process, self._process, self._listening = self._process, None, None
        if process is None:
            return
        _close_stdin(process)
        try:
            process.wait(_KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, listening: socket.socket) -> subprocess.Popen[bytes]:
        settings = {
            "root": self._root,
            "listening": listening.fileno(),
            "controller": os.getpid(),
        }
        process = subprocess.Popen(
            python_command(_MODULE, json.dumps(settings)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once, which `revive` notices
            process.stdin.write(self._secret)
            process.stdin.flush()
        return process


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
