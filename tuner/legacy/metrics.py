"""Metrics as the older APIs report them: by keyword, and with `neg_mean_loss` filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner.errors import ReportError
from tuner.metrics import as_number
from tuner.result_fields import ANONYMOUS_METRIC


def old_metrics(owner: str, value: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a call such as `report(loss=0.1)`, `report(0.1)` or `report({"loss": 0.1})`.

    Args:
        owner: What is called, for messages.
        value: Its positional argument: a dictionary of metrics, a number, or None.
        named: Its keyword arguments.

    Raises:
        ReportError: There is a dictionary and keywords, or neither dictionary, number nor keywords.

    Example:
        >>> old_metrics("report", None, {"mean_loss": 0.5})
        {'mean_loss': 0.5, 'neg_mean_loss': -0.5}
        >>> old_metrics("report", 0.5, {})
        {'_metric': 0.5}
    """
    if isinstance(value, Mapping):
        if named:
            names = ", ".join(named)
            raise ReportError(
                f"{owner}({value!r:.100}, {names}=…): metrics are given as a dictionary and by "
                "name; put all of them into the dictionary"
            )
        return with_neg_mean_loss(dict(value))
    if value is None and named:
        return with_neg_mean_loss(dict(named))
    if isinstance(value, bool) or as_number(value) is None:
        raise ReportError(
            f"{owner}(metrics={value!r:.100}): metrics must be a dictionary of values, such as "
            '{"loss": 0.1}'
        )
    return with_neg_mean_loss({ANONYMOUS_METRIC: value, **named})


def with_neg_mean_loss(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics with `neg_mean_loss`, which grows as `mean_loss` falls, where there is one.

    Example:
        >>> with_neg_mean_loss({"mean_loss": 2.0})
        {'mean_loss': 2.0, 'neg_mean_loss': -2.0}
    """
    loss = as_number(metrics.get("mean_loss"))
    if loss is None or "neg_mean_loss" in metrics:
        return metrics
    return {**metrics, "neg_mean_loss": -loss}
