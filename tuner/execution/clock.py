"""What time it is where trials run."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The time of an executor, from which facts, deadlines and time budgets are reckoned.

    Attributes:
        is_virtual: Whether it goes on only when the executor says so.
    """

    is_virtual: bool

    def begin(self, at: float) -> None:
        """Called before the experiment begins, or goes on from what was the case `at` a time."""

    def now(self) -> float:
        """The time in seconds."""

    def monotonic(self) -> float:
        """Seconds since some moment; never set back."""


class WallClock:
    """Unix time."""

    is_virtual = False

    def begin(self, at: float) -> None:
        """Has no effect: time has gone on meanwhile."""

    def now(self) -> float:
        """The Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


class VirtualClock:
    """A time that passes only when it is told to.

    Example:
        >>> clock = VirtualClock()
        >>> clock.advance(2.5)
        >>> clock.now()
        2.5
    """

    is_virtual = True

    def __init__(self) -> None:
        self._now = 0.0

    def begin(self, at: float) -> None:
        """Sets the time."""
        self._now = at

    def now(self) -> float:
        """Seconds since the experiment began."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the experiment began."""
        return self._now

    def advance(self, to: float) -> None:
        """Goes on to a time, unless that has passed."""
        self._now = max(self._now, to)
