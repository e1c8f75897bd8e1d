"""Running statistics of a trial's metrics, so that no history has to be kept in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tuner.result_fields import AUTOFILLED

_NOT_SUMMARIZED = AUTOFILLED - {"training_iteration", "time_total_s", "timesteps_total"}
_RECENT = 10
_INT64 = range(-(2**63), 2**63)  # larger integers have no place among floats


class MetricSummary:
    """Maximum, minimum, mean and recent values of one metric; NaN counts only as a recent value."""

    __slots__ = ("count", "maximum", "minimum", "recent", "total")

    def __init__(
        self,
        maximum: float = -math.inf,
        minimum: float = math.inf,
        total: float = 0.0,
        count: int = 0,
        recent: Iterable[float] = (),
    ) -> None:
        self.maximum = maximum
        self.minimum = minimum
        self.total = total
        self.count = count
        self.recent = [*recent]

    @property
    def values(self) -> tuple[float, float, float, int, list[float]]:
        """What another one with the same statistics is made of."""
        return self.maximum, self.minimum, self.total, self.count, self.recent

    def copy(self) -> MetricSummary:
        """The same statistics, to be kept while these go on."""
        return MetricSummary(*self.values)

    def add(self, value: float) -> None:
        """Takes in the next value."""
        recent = self.recent
        recent.append(value)
        if len(recent) > _RECENT:
            del recent[0]
        if value != value:
            return
        self.total += value
        self.count += 1
        if value > self.maximum:
            self.maximum = value
        if value < self.minimum:
            self.minimum = value

    def as_dict(self) -> dict[str, float]:
        """`max, min, avg, last, last-5-avg, last-10-avg`; NaN where there is no value yet."""
        empty = not self.count
        return {
            "max": math.nan if empty else self.maximum,
            "min": math.nan if empty else self.minimum,
            "avg": math.nan if empty else self.total / self.count,
            "last": self.recent[-1],
            "last-5-avg": _mean(self.recent[-5:]),
            "last-10-avg": _mean(self.recent),
        }


def summarize(
    summaries: dict[str, MetricSummary], result: dict[str, Any], prefix: str = ""
) -> None:
    """Adds every number of a result to its summary; nested keys are joined by `/`."""
    for key, value in result.items():
        if key in _NOT_SUMMARIZED and not prefix:
            continue
        kind = type(value)
        if kind is float or (kind is int and value in _INT64):
            name = f"{prefix}{key}" if prefix else key
            summary = summaries.get(name)
            if summary is None:
                summary = summaries[name] = MetricSummary()
            summary.add(value)
        elif kind is dict:
            summarize(summaries, value, f"{prefix}{key}/")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
