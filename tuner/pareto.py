"""Which of several points no other one beats in everything."""

from __future__ import annotations

from collections.abc import Sequence


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
    front: list[int] = []
    # In this order a point can only be dominated by one that is looked at before it.
    for index in sorted(range(len(losses)), key=lambda index: tuple(losses[index])):
        point = losses[index]
        if not any(_dominates(losses[other], point) for other in front):
            front.append(index)
    return sorted(front)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = [*zip(one, other, strict=True)]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
