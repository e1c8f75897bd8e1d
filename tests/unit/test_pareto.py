"""Which points no other one beats in everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuner.pareto import pareto_front

POINTS = st.integers(1, 4).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, 4).map(float), min_size=size, max_size=size))
)


def beats(one: list[float], other: list[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


@given(POINTS)
def test_it_is_what_nothing_beats(points: list[list[float]]) -> None:
    expected = [
        index
        for index, point in enumerate(points)
        if not any(beats(each, point) for each in points)
    ]
    assert pareto_front(points) == expected
