"""A quantile of numbers that arrive one by one."""

import math
from heapq import heappush, heappushpop


class RunningQuantile:
    """A quantile of all numbers added so far, in O(log n) for each that is added.

    Two heaps hold what lies at or below the quantile's lower neighbour and what lies above. Between
    two neighbours it is interpolated linearly (method 7 of Hyndman and Fan, "Sample Quantiles in
    Statistical Packages", 1996; numpy's default). Next to an infinite neighbour, where there is
    nothing to interpolate, it is the upper one.

    Args:
        fraction: Which quantile, 0 <= fraction < 1; 0.5 is the median.

    Example:
        >>> median = RunningQuantile(0.5)
        >>> for number in (3.0, 1.0, 2.0, 10.0):
        ...     median.add(number)
        >>> median.value
        2.5
    """

    __slots__ = ("_above", "_below", "_fraction")

    def __init__(self, fraction: float) -> None:
        self._fraction = fraction
        self._below: list[float] = []  # negated, so that the largest comes first
        self._above: list[float] = []

    def __len__(self) -> int:
        return len(self._below) + len(self._above)

    def add(self, number: float) -> None:
        """Take in a number; infinite is allowed, NaN has no rank and is not."""
        # How many numbers lie at or below the lower neighbour, counting this one.
        share = math.floor(len(self) * self._fraction) + 1
        if len(self._below) < share:
            heappush(self._below, -heappushpop(self._above, number))
        else:
            heappush(self._above, -heappushpop(self._below, -number))

    @property
    def value(self) -> float | None:
        """The quantile, None as long as there is no number."""
        if not self._below:
            return None
        position = (len(self) - 1) * self._fraction
        weight = position - math.floor(position)
        lower = -self._below[0]
        if weight == 0:
            return lower
        upper = self._above[0]
        gap = upper - lower
        if not math.isfinite(gap):
            return upper
        # From the nearer end, so that the rounding is symmetric, as numpy's is.
        return lower + gap * weight if weight < 0.5 else upper - gap * (1 - weight)
