"""Stops a trial when one of its metrics reaches a bound."""

from collections.abc import Mapping
from typing import Any

from tuner.flatten import lookup
from tuner.metrics import as_number
from tuner.stoppers.stopper import Stopper
from tuner.validation import check_text, reject


class MetricThresholdStopper(Stopper):
    """Stops a trial when `result[key] >= bound` for any of the keys.

    A value that is missing, NaN or not a number stops nothing.

    Args:
        bounds: For each key, `"a/b"` for a nested value, the value at which a trial stops.

    Raises:
        ConfigError: A key is not a string or a bound is not a number.

    Example:
        >>> stopper = MetricThresholdStopper({"accuracy": 0.9, "training_iteration": 5})
        >>> stopper("trial", {"accuracy": 0.4, "training_iteration": 5})
        True
        >>> stopper.unseen_keys()
        ()
    """

    def __init__(self, bounds: Mapping[str, float]) -> None:
        self._bounds = {key: _checked_bound(key, bound) for key, bound in bounds.items()}
        self._unseen = dict.fromkeys(self._bounds)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a bound is reached."""
        reached = False
        for key, bound in self._bounds.items():
            value = lookup(result, key, _MISSING)
            if value is _MISSING:
                continue
            self._unseen.pop(key, None)
            number = as_number(value)
            if number is not None and number >= bound:
                reached = True
        return reached

    def unseen_keys(self) -> tuple[str, ...]:
        """Keys that no result had so far."""
        return tuple(self._unseen)


_MISSING = object()


def _checked_bound(key: object, bound: object) -> float:
    check_text("stop", "key", key, "use the name of a reported value")
    if isinstance(bound, Mapping) and bound:
        fix = f"name nested values by a path: {{'{key}/{next(iter(bound))}': ...}}"
        reject("stop", str(key), bound, fix)
    number = as_number(bound)
    if number is None or number != number:
        reject("stop", str(key), bound, "use a number: the trial stops at this value or above")
    return number
