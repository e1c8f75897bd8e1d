"""Stops a trial after a number of iterations."""

from typing import Any

from tuner.metrics import as_number
from tuner.stoppers.stopper import Stopper
from tuner.validation import check_whole


class MaximumIterationStopper(Stopper):
    """Stops a trial when it has done `max_iter` iterations.

    An iteration that a trial repeats after a failure counts once: the result's
    `training_iteration` is what counts, or the number of results where there is none.

    Args:
        max_iter: Iterations after which a trial is stopped, at least 1.

    Raises:
        ConfigError: `max_iter` is not a whole number >= 1.

    Example:
        >>> stopper = MaximumIterationStopper(max_iter=2)
        >>> stopper("trial", {"training_iteration": 1}), stopper("trial", {"training_iteration": 2})
        (False, True)
    """

    def __init__(self, max_iter: int) -> None:
        fix = "use a whole number >= 1"
        check_whole("MaximumIterationStopper", "max_iter", max_iter, fix, least=1)
        self._max_iter = max_iter
        self._counts: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial has done its iterations."""
        iteration = as_number(result.get("training_iteration"))
        if iteration is None:
            iteration = self._counts[trial_id] = self._counts.get(trial_id, 0) + 1
        return iteration >= self._max_iter
