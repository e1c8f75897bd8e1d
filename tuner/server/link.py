"""The server's side of the connection to its controller."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os

import orjson

from tuner.experiment.requests import Outcome, Request
from tuner.server.messages import decode_outcome, encode_request

_END = b"null\n"
_OVER = Outcome(refusal="the experiment is over", kind="conflict")

LONGEST_LINE = 64 * 1024 * 1024


class ControllerLink:
    """Asks the controller, and waits for what becomes of it.

    Args:
        reader: Where outcomes come from.
        writer: Where requests go.
        timeout_s: How long an outcome is waited for.
        max_open: How many requests may wait for their outcome at once.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        timeout_s: float,
        max_open: int,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout_s = timeout_s
        self._max_open = max_open
        self._numbers = itertools.count(1)
        self._open: dict[str, asyncio.Future[Outcome]] = {}
        self._is_over = False

    @property
    def is_busy(self) -> bool:
        """Whether so many requests wait that another one is to be refused."""
        return len(self._open) >= self._max_open

    def say_ready(self) -> None:
        """Tells the controller that the server serves."""
        self._writer.write(_END)

    async def ask(self, request: Request) -> Outcome:
        """What came of a request; it is in the journal then.

        Raises:
            TimeoutError: The controller has not answered.
            EOFError: It was killed before it answered.
        """
        if self._is_over:
            return _OVER
        request_id = f"{os.getpid()}-{next(self._numbers)}"  # unlike those of a killed process
        answer = self._open[request_id] = asyncio.get_running_loop().create_future()
        self._writer.write(encode_request(request_id, request))
        try:
            return await asyncio.wait_for(answer, self._timeout_s)
        finally:
            del self._open[request_id]

    async def follow(self) -> None:
        """Hands outcomes on until the controller ends the connection, or is gone."""
        line = b""
        with contextlib.suppress(ConnectionError):
            while (line := await self._reader.readline()).endswith(b"\n") and line != _END:
                request_id, outcome = decode_outcome(line)
                answer = self._open.get(request_id)
                if answer is not None and not answer.done():
                    answer.set_result(outcome)
        self._is_over = True
        for answer in self._open.values():
            if answer.done():
                continue
            if line == _END:
                answer.set_result(_OVER)
            else:  # it may have been about to answer
                answer.set_exception(EOFError("the controller is gone"))


async def read_settings(reader: asyncio.StreamReader) -> dict[str, object]:
    """What the controller says first: what the server is to do.

    Raises:
        EOFError: The controller is gone already.
    """
    line = await reader.readline()
    if not line:
        raise EOFError("the controller is gone")
    settings: dict[str, object] = orjson.loads(line)
    return settings
