"""The whole multiples of a step `q`, as floats that print as a person would write them."""

from decimal import Decimal
from fractions import Fraction

_TOLERANCE = 1e-6
"""How far `bound / q` may be from a whole number, for bounds that a program computed."""


class Multiples:
    """The multiples of `q`, computed in decimal: `0.1 * 3` is `0.3`, not `0.30000000000000004`.

    Example:
        >>> Multiples(0.1).value(3)
        0.3
        >>> Multiples(0.2).index_of(-5.0)
        -25
        >>> Multiples(0.2).index_of(-5.1) is None
        True
    """

    def __init__(self, q: float) -> None:
        self._q = q
        self._step = Fraction(Decimal(repr(q)))

    def value(self, index: int) -> float:
        """Returns the float nearest to `index * q`, where `q` is the decimal that it prints as."""
        return index * self._step.numerator / self._step.denominator

    def nearest(self, number: float) -> int:
        """Returns the index of the multiple nearest to `number`."""
        return round(number / self._q)

    def index_of(self, bound: float) -> int | None:
        """Returns the index of the multiple that `bound` is, None if it is not one."""
        ratio = Fraction(Decimal(repr(bound))) / self._step
        index = round(ratio)
        return index if abs(ratio - index) <= _TOLERANCE else None
