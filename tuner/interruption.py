"""Ctrl-C and SIGTERM: the first one ends the experiment cleanly, the second one at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_NAMES = {signal.SIGINT: "interrupted by Ctrl-C", signal.SIGTERM: "asked to end by SIGTERM"}


class Interruption:
    """While entered, turns the first signal into a request; off the main thread it does nothing.

    Args:
        wake: Makes the loop look at the request; called from the signal handler.

    Attributes:
        reason: What ended the experiment, None if nothing did.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.reason: str | None = None
        self._wake = wake
        self._taken = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in _NAMES:
                self._before[signum] = signal.signal(signum, self._on_signal)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def take(self) -> str | None:
        """The reason, once; None before there is one and ever after."""
        if self.reason is None or self._taken:
            return None
        self._taken = True
        return self.reason

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.reason is not None:
            raise KeyboardInterrupt
        self.reason = _NAMES[signal.Signals(signum)]
        self._wake()
