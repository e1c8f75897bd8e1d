"""Ctrl-C and SIGTERM: the first one ends the experiment cleanly, the second one at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

from tuner import side_by_side
from tuner.signals import signals_to


class Interruption:
    """While entered, turns the first signal into a request.

    Off the main thread it is told by its group, if it has one, and does nothing otherwise.

    Args:
        wake: Makes the loop look at the request; called from the signal handler.

    Attributes:
        reason: What ended the experiment, None if nothing did.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.reason: str | None = None
        self._wake = wake
        self._taken = False
        self._is_urgent = False
        self._open = contextlib.ExitStack()

    def __enter__(self) -> None:
        group = side_by_side.group()
        if group is None:
            self._open.enter_context(signals_to(self._on_signal))
        else:
            group.join(self)
            self._open.callback(group.leave, self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def request(self, reason: str) -> None:
        """Asks for an end, from any thread; the second time, for one at once."""
        if self.reason is not None:
            self._is_urgent = True
        self.reason = self.reason or reason
        self._wake()

    def take(self) -> str | None:
        """The reason, once; None before there is one and ever after.

        Raises:
            KeyboardInterrupt: An end at once was asked for.
        """
        if self._is_urgent:
            raise KeyboardInterrupt
        if self.reason is None or self._taken:
            return None
        self._taken = True
        return self.reason

    def _on_signal(self, reason: str) -> None:
        if self.reason is not None:
            raise KeyboardInterrupt
        self.request(reason)
