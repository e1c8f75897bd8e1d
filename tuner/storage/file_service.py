"""The file server's process: serves one folder of this machine to who knows the secret.

Started by `FileServer`, which hands it a listening socket, and the secret on its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tuner.handshake import welcome
from tuner.storage.served_protocol import ConnectionLost, Line, error_answer
from tuner.storage.served_root import ServedRoot, open_regular

_LOOK_AFTER_PARENT_S = 1.0
_NEXT_ACCEPT_S = 0.1


class FileService:
    """Answers requests, those of each connection in a thread of its own.

    Args:
        root: The folder that is served.
        secret: What clients have to know.

    Attributes:
        root: The files in it.
    """

    def __init__(self, root: str, secret: bytes) -> None:
        self.root = ServedRoot(root)
        self._secret = secret
        self._calls: dict[str, Callable[..., dict[str, Any]]] = {
            "info": self.root.info,
            "ls": self.root.ls,
            "mkdir": self.root.mkdir,
            "makedirs": self.root.makedirs,
            "rmdir": self.root.rmdir,
            "rm_file": self.root.rm_file,
            "rm_tree": self.root.rm_tree,
            "mv": self.root.mv,
            "cp_file": self.root.cp_file,
            "sync": self.root.sync,
        }

    def listen(self, listening: socket.socket) -> None:
        """Takes connections."""
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:  # there are too many open files, for example
                time.sleep(_NEXT_ACCEPT_S)
                continue
            threading.Thread(target=self._talk, args=[sock], daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock:
            try:
                welcome(sock, self._secret)
            except (OSError, ValueError):  # somebody else's program
                return
            # A client whose connection broke tries again, or is gone.
            with contextlib.closing(Line(sock)) as line, contextlib.suppress(ConnectionLost):
                while (request := line.receive()) is not None:
                    self._serve(line, **request)

    def _serve(self, line: Line, do: str, **arguments: Any) -> None:
        if do == "read":
            self._read(line, **arguments)
        elif do == "write":
            self._write(line, **arguments)
        else:
            try:
                answer = self._calls[do](**arguments)
            except OSError as error:
                answer = error_answer(error)
            line.send(answer)

    def _read(self, line: Line, path: str, start: int | None, end: int | None) -> None:
        try:
            file = open_regular(self.root.resolve(path), path)
        except OSError as error:
            line.send(error_answer(error))
            return
        with file:
            found = os.fstat(file.fileno())
            first, last, _ = slice(start, end).indices(found.st_size)
            size = max(last - first, 0)
            line.send({"size": size, "mtime_ns": found.st_mtime_ns})
            line.send_file(file, first, size)

    def _write(
        self, line: Line, path: str, create: bool, with_parents: bool, mtime_ns: int | None
    ) -> None:
        chunk = None
        try:
            with self.root.new_file(path, with_parents=with_parents) as file:
                while chunk := line.receive_chunk():
                    file.write(chunk)
                file.commit(exclusively=create, mtime_ns=mtime_ns)
        except ConnectionLost:
            raise
        except OSError as error:
            line.send(error_answer(error))
            while chunk != b"":  # what was under way
                chunk = line.receive_chunk()
        else:
            line.send({})


def main() -> None:
    """Serves until the controller closes its end of the standard input, or is gone."""
    settings = json.loads(sys.argv[1])
    secret = os.read(0, 1024)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    service = FileService(settings["root"], secret)
    listening = socket.socket(fileno=settings["listening"])
    threading.Thread(target=service.listen, args=[listening], daemon=True).start()
    # A parent-death signal would come when the controller's thread ends that has started this.
    while os.getppid() == settings["controller"]:
        if select.select([0], [], [], _LOOK_AFTER_PARENT_S)[0] and not os.read(0, 1):
            break
    service.root.clean_up()
    os._exit(0)  # waits for no client
