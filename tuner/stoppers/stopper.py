"""The interface of what ends trials or the whole experiment."""

from typing import Any


class Stopper:
    """Ends trials, the experiment, or both.

    The experiment calls `on_time` whenever something happened, then `__call__` once for each
    result of a trial, and `stop_all` after every result and whenever `deadline` has passed.
    A subclass overrides what it needs. It is pickled with the experiment, its state included, so
    that a restored experiment stops where the first run would have.

    Example:
        >>> class StopAfterAnyReaches(Stopper):
        ...     def __init__(self, accuracy):
        ...         self.accuracy = accuracy
        ...         self.reached = False
        ...
        ...     def __call__(self, trial_id, result):
        ...         self.reached = self.reached or result["accuracy"] >= self.accuracy
        ...         return self.reached
        ...
        ...     def stop_all(self):
        ...         return self.reached
        >>> stopper = StopAfterAnyReaches(0.9)
        >>> stopper("trial", {"accuracy": 0.95}), stopper.stop_all()
        (True, True)
    """

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial that reported this result ends with it."""
        return False

    def stop_all(self) -> bool:
        """Whether the experiment ends: all trials stop and none is started any more."""
        return False

    def on_time(self, now: float) -> None:
        """Learn the time, in Unix seconds; a stopper asks no clock itself."""

    def on_restore(self, now: float) -> None:
        """Learn that the experiment goes on after an interruption that lasted until `now`."""

    def deadline(self) -> float | None:
        """The Unix time at which `stop_all` may turn true by the passing of time alone."""
        return None

    def unseen_keys(self) -> tuple[str, ...]:
        """Result keys that this stopper waits for and has never met: probably misspelt."""
        return ()
