"""A search space taken apart into parameters and put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tuner as tune
from tuner.errors import SearchSpaceError
from tuner.search.flat_space import FlatSpace
from tuner.search_space.domains import Categorical

NAMES = st.sampled_from(["a", "b", "c", "d/e", "f#1"])
DOMAINS = st.sampled_from(
    [
        tune.uniform(0, 1),
        tune.quniform(0, 10, 0.25),
        tune.qloguniform(0.1, 10, 0.1),
        tune.randint(-3, 4),
        tune.qrandint(0, 9, 3),
        tune.randn(5, 2),
        tune.choice(["u", "v", None]),
    ]
)
CONSTANTS = st.sampled_from([1, "text", None, 0.5, True])


def _spaces(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["a", "b", "c"])
    return st.one_of(
        st.dictionaries(keys, inner, min_size=1, max_size=3),
        st.lists(inner, min_size=1, max_size=2),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda parts: tune.choice([{"kind": i, "is": part} for i, part in enumerate(parts)])
        ),
    )


PARTS = st.recursive(DOMAINS | CONSTANTS, _spaces, max_leaves=12)
SPACES = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), PARTS, min_size=1, max_size=4)


def drawn(space: FlatSpace, seed: int) -> dict[str, Any]:
    """Values for the parameters that such a configuration has."""
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.is_active(values):
            domain = parameter.domain
            values[parameter.name] = (
                domain.draw_index(rng) if isinstance(domain, Categorical) else domain.draw(rng)
            )
    return values


@given(SPACES, st.integers(0, 2**32))
def test_values_come_back_from_their_configuration(space: dict[str, Any], seed: int) -> None:
    flat = FlatSpace(space, "me")
    values = drawn(flat, seed)
    assert flat.values(flat.config(values), strict=True) == values


@given(SPACES, st.integers(0, 2**32))
def test_a_configuration_is_the_space_with_values_in_place_of_domains(
    space: dict[str, Any], seed: int
) -> None:
    flat = FlatSpace(space, "me")
    completed = tune.search_space.variants.SearchSpace(space).completed(
        flat.config(drawn(flat, seed)), seed=[0]
    )
    assert not tune.search_space.has_unresolved(completed)
    assert completed.keys() == space.keys()
    again = FlatSpace(space, "me").values(completed, strict=True)
    assert flat.config(again) == flat.config(drawn(flat, seed))


@given(SPACES)
def test_names_are_different(space: dict[str, Any]) -> None:
    names = [parameter.name for parameter in FlatSpace(space, "me").parameters]
    assert len(set(names)) == len(names)


def test_flat_and_nested_points_are_the_same() -> None:
    space = FlatSpace({"model": {"lr": tune.uniform(0, 1), "n": [tune.randint(0, 9), 7]}}, "me")
    expected = {"model/lr": 0.5, "model/n/0": 3}
    for point in (
        {"model": {"lr": 0.5, "n": [3, 7]}},
        {"model/lr": 0.5, "model": {"n": [3, 7]}},
        {"model/lr": 0.5, "model/n/0": 3},
    ):
        assert space.values(point, strict=True) == expected


def test_numbers_between_steps_count_as_the_nearest() -> None:
    space = FlatSpace({"q": tune.quniform(0, 1, 0.25), "n": tune.qrandint(0, 8, 4)}, "me")
    assert space.values({"q": 0.3, "n": 5}) == {"q": 0.25, "n": 4}


def test_equal_categories_are_told_apart_by_what_is_nearest() -> None:
    space = FlatSpace({"x": tune.choice([1, True, 1.0, {"d": tune.randint(0, 3)}])}, "me")
    assert [space.values({"x": x})["x"] for x in (1, True, 1.0, {"d": 2})] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("space", "point", "words"),
    [
        ({"x": tune.uniform(0, 1)}, {"x": 2.0}, r"me: x=2.0 is not in uniform\(0.0, 1.0\)"),
        ({"x": tune.uniform(0, 1)}, {"x": "a"}, r"me: x='a' is not in uniform"),
        ({"m": {"n": tune.randint(0, 3)}}, {"m": {"n": 3}}, r"me: m/n=3 is not in randint\(0, 3\)"),
        ({"n": tune.randint(0, 3)}, {"n": 1.5}, r"me: n=1.5 is not in"),
        ({"x": tune.randn()}, {"x": float("nan")}, r"me: x=nan is not in randn"),
        ({"x": tune.choice(["a", "b"])}, {"x": "c"}, r"me: x='c' is no category of choice"),
        ({"width": tune.uniform(0, 1)}, {"widht": 0}, "'widht' is not .* did you mean 'width'"),
        ({"a": {"b": tune.uniform(0, 1)}}, {"a": {"c": 0}}, r"'a/c' is not .* has 'b' here"),
    ],
)
def test_a_point_that_does_not_fit_is_named(
    space: dict[str, Any], point: dict[str, Any], words: str
) -> None:
    with pytest.raises(SearchSpaceError, match=words):
        FlatSpace(space, "me").values(point, strict=True)


def test_a_grid_is_refused_wherever_it_is() -> None:
    for space in (
        {"x": [tune.grid_search([1, 2])]},
        {"x": tune.choice([{"y": tune.grid_search([1, 2])}])},
    ):
        with pytest.raises(SearchSpaceError, match=r"me: x.*grid search .* use choice here"):
            FlatSpace(space, "me")
