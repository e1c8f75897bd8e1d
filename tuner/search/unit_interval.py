"""Numbers of a domain as numbers from 0 to 1, for libraries that know no logarithms or no steps."""

from __future__ import annotations

import math

from tuner.search_space.domains import Float, Integer


def to_unit(domain: Float | Integer, value: float) -> float:
    """Where a value lies between the bounds of its domain, in the logarithm if it has one.

    Args:
        domain: Its domain.
        value: A value of the domain.

    Returns:
        0 for the lower bound, 1 for the upper one. A whole number is in the middle of its share.

    Example:
        >>> to_unit(Float(0.01, 1, log=True), 0.1), to_unit(Integer(0, 10), 2)
        (0.5, 0.25)
    """
    lower, upper = _bounds(domain)
    if lower == upper:
        return 0.0
    if isinstance(domain, Integer):
        value += 0.5
    scale = math.log if domain.log else float
    fraction = (scale(value) - scale(lower)) / (scale(upper) - scale(lower))
    return min(max(fraction, 0.0), 1.0)


def from_unit(domain: Float | Integer, fraction: float) -> float | int:
    """The inverse of `to_unit`: the value of the domain that is nearest.

    Example:
        >>> from_unit(Float(0, 10), 0.25), from_unit(Integer(0, 10), 0.29)
        (2.5, 2)
    """
    lower, upper = _bounds(domain)
    if domain.log:
        value = math.exp(math.log(lower) * (1 - fraction) + math.log(upper) * fraction)
    else:
        value = lower * (1 - fraction) + upper * fraction
    return domain.nearest(math.floor(value) if isinstance(domain, Integer) else value)


def _bounds(domain: Float | Integer) -> tuple[float, float]:
    if isinstance(domain, Integer):
        return domain.least, domain.most + 1
    return domain.lower, domain.upper
