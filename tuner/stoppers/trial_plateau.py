"""Stops a trial whose metric no longer changes."""

import math
from typing import Any

from tuner.flatten import lookup
from tuner.metrics import as_number
from tuner.stoppers.plateau import spread
from tuner.stoppers.stopper import Stopper
from tuner.validation import check_mode, check_number, check_text, check_whole, reject


class TrialPlateauStopper(Stopper):
    """Stops a trial when its last results hardly differ.

    A trial has reached a plateau when the standard deviation of its last `num_results` values is
    below `std`. A result in which the metric is missing, NaN or infinite is no plateau.

    Args:
        metric: The reported value to watch, `"a/b"` for a nested one.
        std: Standard deviation below which the trial stops, in the unit of the metric.
        num_results: How many of the last results are compared.
        grace_period: Results that a trial may give before it can be stopped.
        metric_threshold: Only a trial whose last value is at least as good is stopped; None for
            any.
        mode: `"min"` or `"max"`: what is good; needed with `metric_threshold`.

    Raises:
        ConfigError: An argument has a value that cannot work.

    Example:
        >>> stopper = TrialPlateauStopper("loss", num_results=3, grace_period=3)
        >>> [stopper("trial", {"loss": loss}) for loss in (0.9, 0.3, 0.3, 0.3)]
        [False, False, False, True]
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.01,
        num_results: int = 4,
        grace_period: int = 4,
        metric_threshold: float | None = None,
        mode: str | None = None,
    ) -> None:
        owner = "TrialPlateauStopper"
        check_text(owner, "metric", metric, "use the name of a reported value")
        check_number(owner, "std", std, "use a number >= 0", least=0)
        check_whole(owner, "num_results", num_results, "use a whole number >= 1", least=1)
        check_whole(owner, "grace_period", grace_period, "use a whole number >= 0", least=0)
        if mode is not None:
            check_mode(owner, "mode", mode)
        if metric_threshold is not None:
            fix = "use a number, or None"
            check_number(owner, "metric_threshold", metric_threshold, fix, least=-math.inf)
            if mode is None:
                reject(owner, "mode", mode, "say 'min' or 'max' when there is a metric_threshold")
        self._metric = metric
        self._std = std
        self._num_results = num_results
        self._grace_period = grace_period
        self._threshold = metric_threshold
        self._mode = mode
        self._seen = False
        self._counts: dict[str, int] = {}
        self._windows: dict[str, list[float]] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial has reached a plateau."""
        value = as_number(lookup(result, self._metric))
        if value is None:
            value = math.nan
        else:
            self._seen = True
        count = self._counts[trial_id] = self._counts.get(trial_id, 0) + 1
        window = self._windows.setdefault(trial_id, [])
        window.append(value)
        if len(window) > self._num_results:
            del window[0]
        if count < self._grace_period or len(window) < self._num_results:
            return False
        return self._good_enough(value) and spread(window) < self._std

    def unseen_keys(self) -> tuple[str, ...]:
        """The metric, as long as no result had it."""
        return () if self._seen else (self._metric,)

    def _good_enough(self, value: float) -> bool:
        if self._threshold is None:
            return True
        return value <= self._threshold if self._mode == "min" else value >= self._threshold
