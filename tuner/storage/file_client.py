"""A client of the file server: its connections, and what is tried again when one breaks."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tuner.handshake import Address, connect
from tuner.storage.served_protocol import ConnectionLost, Line, Secret, raise_error

_T = TypeVar("_T")

_WAITS_S = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0)
_SILENCE_S = 300.0
_MAX_IDLE = 4


class FileClient:
    """Connections to a file server: as many as are in use at once, by any thread.

    They are not shared with a forked process, which makes its own.

    Args:
        address: Where the server listens.
        secret: What it has to know, and wants to be known.
    """

    def __init__(self, address: Address, secret: Secret) -> None:
        self._address = address
        self._secret = secret
        self._idle: deque[Line] = deque()
        self._owner = os.getpid()

    def call(self, do: str, *, again: bool = True, **arguments: Any) -> dict[str, Any]:
        """The answer to a request.

        Args:
            do: What is asked for.
            again: Whether it may be asked for twice, when the connection broke before the answer.
            **arguments: Of the request.

        Raises:
            ConnectionLost: The server could not be reached for some seconds.
            OSError: What the server says.
        """
        request = {"do": do, **arguments}

        def use(line: Line) -> dict[str, Any]:
            line.send(request)
            return line.answer()

        answer = self._tried(use, again=again)
        raise_error(answer)
        return answer

    def read(
        self,
        path: str,
        take: Callable[[int, Iterator[bytes]], _T],
        start: int | None = None,
        end: int | None = None,
    ) -> _T:
        """Has a file's content, or a slice of it, taken as it comes; from its start if need be.

        Args:
            path: The file's path.
            take: Called with the number of bytes, and the bytes in pieces.
            start: First byte, as in a slice.
            end: The byte after the last one, as in a slice.
        """
        request = {"do": "read", "path": path, "start": start, "end": end}
        taken: list[_T] = []

        def use(line: Line) -> dict[str, Any]:
            line.send(request)
            answer = line.answer()
            if "size" in answer:
                taken.append(take(answer["size"], line.receive_bytes(answer["size"])))
            return answer

        raise_error(self._tried(use))
        return taken[0]

    def write(
        self,
        path: str,
        chunks: Callable[[], Iterable[bytes]],
        *,
        create: bool = False,
        with_parents: bool = False,
        mtime_ns: int | None = None,
    ) -> None:
        """Writes a file, which appears when it is complete.

        Args:
            path: The file's path.
            chunks: Gives the content, of at most `CHUNK` bytes each; called for every try.
            create: There must be no such file.
            with_parents: Its directory is made if there is none.
            mtime_ns: When it was changed, None for now.
        """
        request = write_request(path, create, with_parents, mtime_ns)

        def use(line: Line) -> dict[str, Any]:
            line.begin(request)
            for chunk in chunks():
                line.add(chunk)
                if line.has_answer():  # there is no room, for example
                    break
            line.end()
            return line.answer()

        raise_error(self._tried(use, again=not create))

    def line(self) -> Line:
        """A connection for longer than one call, which the caller closes."""
        return self._connected(iter(_WAITS_S))

    def _tried(self, use: Callable[[Line], _T], *, again: bool = True) -> _T:
        waits = iter(_WAITS_S)
        while True:
            line = self._connected(waits)
            try:
                result = use(line)
            except ConnectionLost:
                line.close()
                wait = next(waits, None) if again else None
                if wait is None:
                    raise
                time.sleep(wait)
            except BaseException:  # the rest of what was asked for is still to come
                line.close()
                raise
            else:
                self._put_back(line)
                return result

    def _connected(self, waits: Iterator[float]) -> Line:
        """A connection that was open a moment ago, or a new one."""
        if self._owner != os.getpid():
            self._idle, self._owner = deque(), os.getpid()
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread has taken it
                line = self._idle.pop()
                if not line.has_answer():
                    return line
                line.close()
        while True:
            try:
                sock = connect(self._address, self._secret, {"role": "files"})
            except OSError as error:
                wait = next(waits, None)
                if wait is None:
                    host, port = self._address
                    raise ConnectionLost(
                        f"the file server on {host}:{port} cannot be reached ({error}); it ends "
                        "with the experiment's controller"
                    ) from error
                time.sleep(wait)
            else:
                sock.settimeout(_SILENCE_S)
                return Line(sock)

    def _put_back(self, line: Line) -> None:
        if len(self._idle) < _MAX_IDLE:
            self._idle.append(line)
        else:
            line.close()


def write_request(
    path: str, create: bool, with_parents: bool, mtime_ns: int | None
) -> dict[str, Any]:
    """The header that is followed by a file's chunks."""
    return {
        "do": "write",
        "path": path,
        "create": create,
        "with_parents": with_parents,
        "mtime_ns": mtime_ns,
    }
