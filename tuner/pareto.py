"""Which of several points no other one beats in everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pareto_front(losses: Sequence[Sequence[float]]) -> list[int]:
    """The indices of points that no other one dominates, in their order.

    A point dominates another one if it is as low everywhere and lower somewhere; of equal points
    none dominates another.

    Args:
        losses: One row per point, of numbers of which less is better.

    Example:
        >>> pareto_front([(1, 5), (2, 2), (3, 3), (5, 1), (2, 2)])
        [0, 1, 3, 4]
    """
    if not losses:
        return []
    points = np.asarray(losses, dtype=float)
    found: list[int] = []
    front = np.empty_like(points)
    # In this order a point can only be dominated by one that is looked at before it.
    for index in np.lexsort(points.T[::-1]):
        point, others = points[index], front[: len(found)]
        if not ((others <= point).all(axis=1) & (others < point).any(axis=1)).any():
            front[len(found)] = point
            found.append(int(index))
    return sorted(found)
