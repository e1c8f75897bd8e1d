"""What ends trials and the experiment: the user's criteria and the time budget together."""

from datetime import timedelta
from typing import Any

from tuner.stoppers.coercion import coerce
from tuner.stoppers.stopper import Stopper
from tuner.stoppers.timeout import TimeoutStopper


class Limits(Stopper):
    """The stop criteria and the time budget of an experiment, which a restore may change.

    Args:
        stop: What `RunConfig(stop=...)` takes.
        time_budget_s: Seconds for the experiment, or a `timedelta`; None for no limit.

    Raises:
        ConfigError: One of them cannot work.

    Example:
        >>> limits = Limits({"training_iteration": 5}, time_budget_s=60)
        >>> limits.on_time(1000.0)
        >>> limits.change(stop=None, time_budget_s=90)
        >>> limits("trial", {"training_iteration": 5}), limits.deadline()
        (True, 1090.0)
    """

    def __init__(self, stop: Any, time_budget_s: float | timedelta | None = None) -> None:
        self._criteria = coerce(stop)
        self._clock = TimeoutStopper(0)
        self._has_budget = time_budget_s is not None
        if time_budget_s is not None:
            self._clock.set_timeout(time_budget_s)

    def change(self, stop: Any, time_budget_s: float | timedelta | None) -> None:
        """Puts others in their place; None leaves one as it is. Time used so far counts."""
        if stop is not None:
            self._criteria = coerce(stop)
        if time_budget_s is not None:
            self._has_budget = True
            self._clock.set_timeout(time_budget_s)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the criteria end the trial."""
        return self._criteria(trial_id, result)

    def stop_all(self) -> bool:
        """Whether the criteria end the experiment, or its time is used up."""
        return self._criteria.stop_all() or (self._has_budget and self._clock.stop_all())

    def on_time(self, now: float) -> None:
        """Tell both."""
        self._criteria.on_time(now)
        self._clock.on_time(now)

    def on_restore(self, now: float) -> None:
        """Tell both."""
        self._criteria.on_restore(now)
        self._clock.on_restore(now)

    def deadline(self) -> float | None:
        """The earlier of theirs."""
        deadlines = [self._criteria.deadline()]
        if self._has_budget:
            deadlines.append(self._clock.deadline())
        return min((time for time in deadlines if time is not None), default=None)

    def unseen_keys(self) -> tuple[str, ...]:
        """Those of the criteria."""
        return self._criteria.unseen_keys()
