"""Stops the experiment when its time is used up."""

from datetime import timedelta
from typing import Any

from tuner.stoppers.stopper import Stopper
from tuner.validation import check_number

_ROUNDING = 1e-6
"""Seconds by which the time used may be off at the deadline, as Unix times are large floats."""


class TimeoutStopper(Stopper):
    """Stops all trials when the experiment has run for `timeout`.

    What counts is time used: it is kept in a pickle, and time between an interruption and a
    restore does not count.

    Args:
        timeout: Seconds, or a `timedelta`.

    Raises:
        ConfigError: `timeout` is not a length of time.

    Example:
        >>> stopper = TimeoutStopper(60)
        >>> stopper.on_time(1000.0)
        >>> stopper.deadline()
        1060.0
        >>> stopper.on_time(1060.0)
        >>> stopper.stop_all()
        True
    """

    def __init__(self, timeout: float | timedelta) -> None:
        self._used = 0.0
        self._last: float | None = None
        self.set_timeout(timeout)

    def set_timeout(self, timeout: float | timedelta) -> None:
        """Allow another length of time; what is used so far counts."""
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        fix = "use seconds >= 0 or a timedelta"
        check_number("TimeoutStopper", "timeout", seconds, fix, least=0)
        self._timeout = float(seconds)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def on_time(self, now: float) -> None:
        """Count the time since the last call; a clock that was set back counts nothing."""
        if self._last is not None:
            self._used += max(0.0, now - self._last)
        self._last = now

    def on_restore(self, now: float) -> None:
        """Go on counting from now."""
        self._last = now

    def stop_all(self) -> bool:
        """Whether the time is used up."""
        return self._used >= self._timeout - _ROUNDING

    def deadline(self) -> float | None:
        """When the time will be used up, or now if it is; None before the first `on_time`."""
        if self._last is None or self.stop_all():
            return self._last
        return self._last + self._timeout - self._used
