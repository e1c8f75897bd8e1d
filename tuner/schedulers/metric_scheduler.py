"""What schedulers share that compare trials by one metric at the same age."""

from __future__ import annotations

import math
from typing import Any

from tuner.flatten import lookup
from tuner.metrics import as_number, required_number
from tuner.schedulers.scheduler import TrialScheduler
from tuner.validation import check_mode, check_text, reject


class MetricScheduler(TrialScheduler):
    """Reads a metric and a time out of results.

    A metric that is NaN counts as the worst value.

    Args:
        time_attr: The reported value that says how far a trial is; it must grow.
        metric: The reported value to optimize, `"a/b"` for a nested one; None takes it from
            `TuneConfig`.
        mode: `"min"` or `"max"`; None takes it from `TuneConfig`.

    Raises:
        ConfigError: An argument has a value that cannot work.
    """

    def __init__(self, time_attr: str, metric: str | None, mode: str | None) -> None:
        owner = type(self).__name__
        check_text(owner, "time_attr", time_attr, "use the name of a reported value that grows")
        if metric is not None:
            check_text(owner, "metric", metric, "use the name of a reported value")
        if mode is not None:
            check_mode(owner, "mode", mode)
        self._metric = metric
        self._mode = mode
        self._time_attr = time_attr
        self._skip_unreported = False

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take what the experiment optimizes; called once, before the first trial.

        Args:
            metric: The experiment's metric; fills in the scheduler's own if that was not given.
            mode: Likewise.
            spec: `strict_metric_checking=False` to let trials go on when they do not report the
                metric or the time, instead of raising.

        Returns:
            False if the metric or the mode was given twice; then nothing has changed.

        Raises:
            ConfigError: The metric is not one name, or `mode` is neither `"min"` nor `"max"`.
        """
        if metric is not None:
            name = type(self).__name__
            fix = f"trials are compared by one value here; name it: {name}(metric=..., mode=...)"
            check_text(name, "metric", metric, fix)
        if mode is not None:
            check_mode(type(self).__name__, "mode", mode)
        if not super().set_search_properties(metric, mode, **spec):
            return False
        self._skip_unreported = not spec.get("strict_metric_checking", True)
        return True

    def _check_objective(self) -> None:
        """Reject a metric or a mode that is still missing when the first trial arrives."""
        if not self._metric or not self._mode:
            field = "mode" if self._metric else "metric"
            reject(type(self).__name__, field, None, f"say it here or in TuneConfig({field}=...)")

    def _skips(self, result: dict[str, Any]) -> bool:
        """Whether nothing is to be decided on this result, as it lacks what that needs."""
        return self._skip_unreported and not self._is_complete(result)

    def _is_complete(self, result: dict[str, Any]) -> bool:
        needed = (self._time_attr, self._metric or "")
        return all(as_number(lookup(result, key)) is not None for key in needed)

    def _time(self, trial_id: str, result: dict[str, Any]) -> float:
        return required_number(result, self._time_attr, role="time_attr", trial_id=trial_id)

    def _reward(self, trial_id: str, result: dict[str, Any]) -> float:
        """The metric as a number of which more is better; NaN is the worst."""
        value = required_number(result, self._metric or "", role="metric", trial_id=trial_id)
        if value != value:
            return -math.inf
        return value if self._mode == "max" else -value
