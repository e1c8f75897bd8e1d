"""The place of a result on the axes of a chart, whatever was reported as its step and time."""

from __future__ import annotations

import time
from typing import Any

from tuner.metrics import as_number

MAX_STEP = 2**63 - 2
"""One less than 64 bits hold, so that there is a step after it."""

_YEAR_10000 = 253_402_300_800.0


def step_of(result: dict[str, Any]) -> int:
    """The step: `timesteps_total` if that is reported, else `training_iteration`, else 0.

    What is no positive number counts as not reported; a number is cut to an integer of 64 bits.

    Example:
        >>> step_of({"timesteps_total": 1000.0, "training_iteration": 1})
        1000
        >>> step_of({"timesteps_total": "many", "training_iteration": 1})
        1
    """
    return _count(result.get("timesteps_total")) or _count(result.get("training_iteration"))


def time_of(result: dict[str, Any]) -> float:
    """When it was reported, in seconds since 1970: `timestamp` if that can be one, else now.

    Example:
        >>> time_of({"timestamp": 1_700_000_000})
        1700000000.0
        >>> time_of({"timestamp": "2024-01-01"}) > 1_700_000_000
        True
    """
    number = as_number(result.get("timestamp"))
    return number if number is not None and 0 < number < _YEAR_10000 else time.time()


def _count(value: Any) -> int:
    number = as_number(value)
    if number is None or not number > 0:
        return 0
    if number >= MAX_STEP:
        return MAX_STEP
    return int(value) if isinstance(value, int) else int(number)
