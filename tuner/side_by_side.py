"""Experiments that one call runs: they share the signals of the process, and its terminal."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tuner.signals import signals_to

T = TypeVar("T")

_LONGEST_WAIT_S = 0.5  # a signal that comes just before a wait is seen only after it


class Interruptible(Protocol):
    """What is told of signals."""

    def request(self, reason: str) -> None:
        """Asks for an end; the second time, for one at once."""


class Group:
    """Experiments of which a signal ends all.

    Args:
        at_once: Whether they run at the same time, or one after the other.

    Attributes:
        at_once: The same.
    """

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self._members: list[Interruptible] = []
        self._reasons: list[str] = []
        self._lock = threading.RLock()  # a signal may come while the main thread holds it

    def run(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Makes calls and waits for all of them, also if one fails.

        Args:
            calls: One per experiment.

        Returns:
            What they returned, in order. Those that a signal keeps from beginning are left out.

        Raises:
            What the first of them has raised that failed.
        """
        outcomes = [_Outcome(call) for call in calls]
        with signals_to(self._tell_all):
            if self.at_once:
                self._make_at_once(outcomes)
            else:
                self._make_in_turn(outcomes)
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"Another experiment failed as well: {other!r}")
            raise errors[0]
        return [outcome.value for outcome in outcomes if outcome.is_made]

    def join(self, member: Interruptible) -> None:
        """Has somebody told of signals, also of those that came before."""
        with self._lock:
            self._members.append(member)
            for reason in self._reasons:
                member.request(reason)

    def leave(self, member: Interruptible) -> None:
        """Has somebody told no more."""
        with self._lock:
            self._members.remove(member)

    def _make_at_once(self, outcomes: Sequence[_Outcome]) -> None:
        threads = [threading.Thread(target=self._make, args=[each]) for each in outcomes]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LONGEST_WAIT_S)

    def _make_in_turn(self, outcomes: Sequence[_Outcome]) -> None:
        for outcome in outcomes:
            if not self._reasons:
                self._make(outcome)

    def _make(self, outcome: _Outcome) -> None:
        before = _current.set(self)  # every thread has a context of its own
        try:
            outcome.make()
        finally:
            _current.reset(before)

    def _tell_all(self, reason: str) -> None:
        if self._reasons and not self.at_once:
            raise KeyboardInterrupt
        with self._lock:
            self._reasons.append(reason)
            for member in self._members:
                member.request(reason)


class _Outcome:
    """What becomes of a call."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.is_made = False
        self.value: Any = None
        self.error: BaseException | None = None

    def make(self) -> None:
        """Makes the call."""
        try:
            self.value = self._call()
            self.is_made = True
        except BaseException as error:
            self.error = error


_current: contextvars.ContextVar[Group | None] = contextvars.ContextVar(
    "side_by_side", default=None
)


def group() -> Group | None:
    """The group of the experiment that runs in this thread, None if it runs alone."""
    return _current.get()
