"""`tune.report(loss=0.1)`, as 0.8 and 1.x had it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.legacy.deprecation import warn_once
from tuner.legacy.metrics import old_metrics


def as_metrics(value: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary for a `tune.report` that was called otherwise than with one.

    Args:
        value: Its positional argument.
        named: Metrics by name.

    Raises:
        ReportError: There are none, or some are given by name and some in a dictionary.

    Example:
        >>> as_metrics(None, {"loss": 0.1, "accuracy": 0.9})
        {'loss': 0.1, 'accuracy': 0.9}
    """
    metrics = old_metrics("tune.report", value, named)
    warn_once("tune.report(loss=…)", 'tune.report({"loss": …})')
    return metrics
