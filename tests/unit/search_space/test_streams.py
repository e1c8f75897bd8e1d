"""Global random streams that are other ones for a while."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from tuner.search_space.streams import preserved_globals, seed_globals, seeded_globals


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with preserved_globals():
        seed_globals(1)
        yield


def draws() -> list[float]:
    return [random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.randn())]


def test_within_it_the_seed_decides() -> None:
    with preserved_globals():
        seed_globals(7)
        expected = [draws(), draws()]
    with seeded_globals(7):
        assert draws() == expected[0]
        with seeded_globals(8):
            assert draws() not in expected
        assert draws() == expected[1]


@pytest.mark.parametrize("num_before", [0, 1, 2])
def test_afterwards_the_streams_go_on_where_they_were(num_before: int) -> None:
    """An odd number of normal numbers leaves one behind that is next."""
    seed_globals(3)
    expected = [draws() for _ in range(num_before + 2)]
    seed_globals(3)
    before = [draws() for _ in range(num_before)]
    with pytest.raises(KeyError):
        _draw_and_fail()
    assert [*before, draws(), draws()] == expected


def _draw_and_fail() -> None:
    with seeded_globals(7):
        draws()
        np.random.seed(0)
        raise KeyError


def test_a_generator_of_the_users_is_kept() -> None:
    theirs = np.random.PCG64(5)
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(theirs)
    try:
        expected = np.random.Generator(np.random.PCG64(5)).random()
        with seeded_globals(7):
            np.random.seed(0)
            draws()
        assert np.random.get_bit_generator() is theirs
        assert np.random.Generator(theirs).random() == expected
    finally:
        np.random.set_bit_generator(before)
