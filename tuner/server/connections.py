"""A connection to the server, which nobody keeps who sends nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tuner.server.auth import LET_IN
from tuner.server.limits import MAX_CONNECTIONS

PATIENCE_S = {h11.IDLE: 10.0, h11.SEND_BODY: 30.0}
"""How long the rest of a request's head, and of its body, is waited for."""


class Connection(H11Protocol):
    """Ends when a request does not come, or takes too long to come.

    Where there are too many, the oldest one goes that was not let in: whoever does not know the
    token keeps nobody out who does.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._begun_at = self.loop.time()
        self._awaited: object = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_let_in(self) -> bool:
        """Whether the last request had the token."""
        return self.scope is not None and LET_IN in self.scope

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Makes room for this one."""
        super().connection_made(transport)
        self._limit_patience()
        if len(self.connections) > MAX_CONNECTIONS:
            self._end_oldest()

    def data_received(self, data: bytes) -> None:
        """Takes a part of a request."""
        super().data_received(data)
        self._limit_patience()

    def on_response_complete(self) -> None:
        """Waits for the next request."""
        super().on_response_complete()
        self._limit_patience()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _limit_patience(self) -> None:
        awaited = self.conn.their_state
        if awaited is self._awaited:  # a few bytes more win no time
            return
        self._awaited = awaited
        if self._timer is not None:
            self._timer.cancel()
        patience_s = PATIENCE_S.get(awaited)
        end = self.transport.abort
        self._timer = None if patience_s is None else self.loop.call_later(patience_s, end)

    def _end_oldest(self) -> None:
        strangers = [
            each for each in self.connections if isinstance(each, Connection) and not each.is_let_in
        ]
        oldest = min(strangers, key=lambda each: each._begun_at)
        self.connections.discard(oldest)
        oldest.transport.abort()
