"""The server of an experiment, in a process of its own at a low priority.

Started by `ServerProcess` with the file descriptor FD of a socket that leads to the controller,
which says first what to do. It ends when the controller says so, or is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn

from tuner.errors import JournalError
from tuner.garbage import few_collections
from tuner.server.app import Parts, create_app
from tuner.server.connections import Connection
from tuner.server.events import EventStreams
from tuner.server.limits import MAX_OPEN_REQUESTS
from tuner.server.link import LONGEST_LINE, ControllerLink, read_settings
from tuner.server.token_file import remove_token
from tuner.server.view import MAX_AGE_S, ExperimentView

logger = logging.getLogger(__name__)

_NICENESS = 10
_IDLE_PERIOD_S = 2.0
_LOOK_PERIOD_S = 0.1
_MAX_IDLE_LOOKS = 20
_LONGEST_GRACE_S = 20.0


class _Server(uvicorn.Server):
    """A server that the controller ends, and no signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield

    async def finish(self, serving: asyncio.Task[None]) -> None:
        """Sends the rest of all answers, and waits for nobody who does not read."""
        self.should_exit = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LONGEST_GRACE_S
        unsent, num_idle = self._unsent(), 0
        while num_idle < _MAX_IDLE_LOOKS and loop.time() < deadline:
            await asyncio.wait([serving], timeout=_LOOK_PERIOD_S)
            if serving.done():
                break
            before, unsent = unsent, self._unsent()
            num_idle = num_idle + 1 if unsent == before else 0
        for connection in self._connections():
            connection.transport.abort()
        await serving

    def _connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]

    def _unsent(self) -> dict[int, int]:
        """The bytes that each connection still has to send."""
        return {id(each): each.transport.get_write_buffer_size() for each in self._connections()}


async def serve(control: socket.socket) -> None:
    """Serves until the controller ends it or is gone."""
    reader, writer = await asyncio.open_connection(sock=control, limit=LONGEST_LINE)
    settings: dict[str, Any] = await read_settings(reader)
    link = ControllerLink(
        reader, writer, timeout_s=settings["answer_timeout_s"], max_open=MAX_OPEN_REQUESTS
    )
    streams = EventStreams()
    view = ExperimentView(settings["experiment_path"], settings["experiment_name"], streams.take)
    app = create_app(Parts(view, streams, link), settings["token"], settings["host"])
    server = _Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            log_level=logging.ERROR,
        )
    )
    listening = socket.socket(fileno=settings["listening"])
    serving = asyncio.create_task(server.serve([listening]))
    link.say_ready()
    await _follow(view, streams, link, controller=settings["controller"])
    streams.close()
    if server.server_state.tasks:  # somebody waits for the rest of an answer
        await server.finish(serving)
    if os.getppid() != settings["controller"]:
        remove_token(settings["token_file"], settings["token"])


async def _follow(
    view: ExperimentView, streams: EventStreams, link: ControllerLink, *, controller: int
) -> None:
    """Keeps up with the journal, often where somebody watches, until the controller is gone."""
    ended = asyncio.create_task(link.follow())
    while not ended.done() and os.getppid() == controller:
        period = MAX_AGE_S if streams.num_watching else _IDLE_PERIOD_S
        await asyncio.wait([ended], timeout=period)
        with contextlib.suppress(JournalError):  # whoever asks is told of it
            await view.refresh(0.0 if ended.done() else MAX_AGE_S / 2)
    ended.cancel()


def main() -> None:
    """Serves as the process that `ServerProcess` starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the controller
    os.nice(_NICENESS)
    control = socket.socket(fileno=int(sys.argv[1]))
    with few_collections(), contextlib.suppress(EOFError):
        asyncio.run(serve(control))
