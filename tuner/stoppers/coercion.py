"""From what a user gives as `RunConfig(stop=...)` to a stopper."""

from collections.abc import Mapping
from typing import Any

from tuner.stoppers.combined import CombinedStopper
from tuner.stoppers.function import FunctionStopper
from tuner.stoppers.metric_threshold import MetricThresholdStopper
from tuner.stoppers.noop import NoopStopper
from tuner.stoppers.stopper import Stopper
from tuner.validation import reject


def coerce(stop: Any) -> Stopper:
    """The stopper that `stop` stands for.

    Args:
        stop: None, `{"metric": bound}`, a function `(trial_id, result) -> bool`, a `Stopper`, or a
            list of these, of which any may stop.

    Raises:
        ConfigError: It is none of these, or what it holds cannot work.

    Example:
        >>> stopper = coerce([{"accuracy": 0.9}, lambda trial_id, result: result["loss"] > 1e6])
        >>> stopper("trial", {"accuracy": 0.1, "loss": 1e9})
        True
    """
    if stop is None:
        return NoopStopper()
    if isinstance(stop, Stopper):
        return stop
    if isinstance(stop, Mapping):
        return MetricThresholdStopper(stop)
    if isinstance(stop, list | tuple):
        return CombinedStopper(*map(coerce, stop))
    if isinstance(stop, type):
        reject("RunConfig", "stop", stop, f"give an instance, {stop.__name__}(...), not the class")
    if hasattr(stop, "stop_all"):
        reject("RunConfig", "stop", stop, "derive its class from Stopper")
    if not callable(stop):
        fix = "use {'metric': bound}, a function (trial_id, result) -> bool, a Stopper, or a list"
        reject("RunConfig", "stop", stop, fix)
    return FunctionStopper(stop)
