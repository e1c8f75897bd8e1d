"""How many trials fit: amounts of resources, given out and taken back."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tuner.bundles import Bundles, sum_bundles

_EPSILON = 1e-9


class Capacity:
    """The resources that trials share.

    Attributes:
        total: What there is.
        used: What running trials hold.
        can_grow: Whether there will be more if that is asked for.
    """

    def __init__(self, total: Mapping[str, float] | None = None) -> None:
        self.total: dict[str, float] = dict(total or {})
        self.used: dict[str, float] = {}
        self.can_grow = False

    def set_total(self, total: Mapping[str, float], *, can_grow: bool = False) -> None:
        """Changes what there is; what is given out stays given out."""
        self.total = dict(total)
        self.can_grow = can_grow

    def fits(self, bundles: Bundles) -> bool:
        """Whether the bundles are free now, or are to be asked for so that there will be more."""
        return all(
            amount <= self.total.get(name, 0.0) - self.used.get(name, 0.0) + _EPSILON
            or self._is_to_be_asked_for(name, amount)
            for name, amount in sum_bundles(bundles).items()
        )

    def _is_to_be_asked_for(self, name: str, amount: float) -> bool:
        """Whether this is more than there is, and nothing else is asked for beyond that yet."""
        total = self.total.get(name, 0.0)
        return self.can_grow and amount > total and self.used.get(name, 0.0) <= total + _EPSILON

    def missing(self, bundles: Bundles) -> str | None:
        """What the bundles ask for beyond the total, in words; None if they can ever fit."""
        if self.can_grow:
            return None
        for name, amount in sum_bundles(bundles).items():
            if amount > self.total.get(name, 0.0) + _EPSILON:
                return f"{amount:g} {name}, of which there are {self.total.get(name, 0.0):g}"
        return None

    def take(self, bundles: Bundles) -> None:
        """Gives the bundles out."""
        for name, amount in sum_bundles(bundles).items():
            self.used[name] = self.used.get(name, 0.0) + amount

    def give_back(self, bundles: Bundles) -> None:
        """Takes the bundles back."""
        for name, amount in sum_bundles(bundles).items():
            left = self.used.get(name, 0.0) - amount
            self.used[name] = 0.0 if math.isclose(left, 0.0, abs_tol=_EPSILON) else left
