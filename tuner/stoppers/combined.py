"""Several stoppers as one."""

from typing import Any

from tuner.stoppers.stopper import Stopper
from tuner.validation import reject


class CombinedStopper(Stopper):
    """Stops what any of its stoppers stops; each of them sees every result.

    Args:
        stoppers: The stoppers.

    Raises:
        ConfigError: One of them is not a stopper.

    Example:
        >>> from tuner.stoppers import MaximumIterationStopper, MetricThresholdStopper
        >>> stopper = CombinedStopper(
        ...     MaximumIterationStopper(10), MetricThresholdStopper({"accuracy": 0.9})
        ... )
        >>> stopper("trial", {"training_iteration": 3, "accuracy": 0.95})
        True
    """

    def __init__(self, *stoppers: Stopper) -> None:
        others = [each for each in stoppers if not isinstance(each, Stopper)]
        if others:
            fix = "give Stopper objects; RunConfig(stop=[...]) also takes dicts and functions"
            reject("CombinedStopper", "stoppers", others[0], fix)
        self._stoppers = stoppers

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether any of them ends the trial."""
        verdicts = [stopper(trial_id, result) for stopper in self._stoppers]
        return any(verdicts)

    def stop_all(self) -> bool:
        """Whether any of them ends the experiment."""
        return any(stopper.stop_all() for stopper in self._stoppers)

    def on_time(self, now: float) -> None:
        """Tell all of them."""
        for stopper in self._stoppers:
            stopper.on_time(now)

    def on_restore(self, now: float) -> None:
        """Tell all of them."""
        for stopper in self._stoppers:
            stopper.on_restore(now)

    def deadline(self) -> float | None:
        """The earliest of theirs."""
        deadlines = [stopper.deadline() for stopper in self._stoppers]
        return min((time for time in deadlines if time is not None), default=None)

    def unseen_keys(self) -> tuple[str, ...]:
        """Those of all of them."""
        keys = (key for stopper in self._stoppers for key in stopper.unseen_keys())
        return tuple(dict.fromkeys(keys))
