"""Calls of the head of a Ray cluster, which may be gone: none is waited for without end."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WITHIN_S = 10.0


class NoAnswer(Exception):
    """The head has not answered in time."""


class Head:
    """Makes calls that the head answers, one after the other, in a thread.

    Ray itself waits a minute for a head that is gone, and ends the process then. The thread keeps
    no script from its end.

    Args:
        within_s: Seconds for which an answer is waited for.
    """

    def __init__(self, within_s: float = _WITHIN_S) -> None:
        self._within_s = within_s
        self._lock = threading.Lock()
        self._calls: collections.deque[tuple[Future[Any], Callable[[], Any]]] = collections.deque()
        self._is_calling = False
        self._overdue: Future[Any] | None = None  # done when all is that was waited for in vain

    def ask(self, call: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """Makes a call, after those before it, and returns its answer.

        Args:
            call: The call.
            undo: Is given an answer that comes too late.

        Raises:
            NoAnswer: There is none in time. While an earlier call has none, this is found at once.
            Whatever the call raises.
        """
        if self._overdue is not None and not self._overdue.done():
            raise NoAnswer
        asked = self._add(call)
        futures.wait([asked], self._within_s)
        if asked.done():
            return asked.result()

        def take_back() -> None:
            if undo is not None and not asked.cancelled():
                undo(asked.result())

        asked.cancel()  # which one that was begun ignores
        self._overdue = self._add(take_back)
        logger.warning("the head of the Ray cluster does not answer; it may be gone")
        raise NoAnswer

    def tell(self, call: Callable[[], Any]) -> None:
        """Has a call made whose answer nobody needs, after those before it."""
        self._add(call)

    def catch_up(self) -> None:
        """Waits for what was told, but not for long."""
        with contextlib.suppress(NoAnswer):
            self.ask(lambda: None)

    def _add(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            self._calls.append((future, call))
            if not self._is_calling:
                self._is_calling = True
                threading.Thread(target=self._run, name="calls of Ray", daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._is_calling = False
                    return
                future, call = self._calls.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    logger.debug("a call of Ray failed", exc_info=True)
                    future.set_exception(error)
