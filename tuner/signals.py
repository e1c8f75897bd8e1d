"""SIGINT and SIGTERM, while somebody wants to be told of them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_NAMES = {signal.SIGINT: "interrupted by Ctrl-C", signal.SIGTERM: "asked to end by SIGTERM"}


@contextlib.contextmanager
def signals_to(handler: Callable[[str], None]) -> Iterator[None]:
    """While entered, has a function called with what a signal asks for.

    Signals come to the main thread alone: elsewhere it does nothing.

    Args:
        handler: Takes the reason in words.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(signum: int, frame: FrameType | None) -> None:
        handler(_NAMES[signal.Signals(signum)])

    before = {signum: signal.signal(signum, on_signal) for signum in _NAMES}
    try:
        yield
    finally:
        for signum, previous in before.items():
            signal.signal(signum, previous)
