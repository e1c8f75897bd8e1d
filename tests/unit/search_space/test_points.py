"""Points: preset values, what stays open, and clear errors for what does not fit."""

import logging
from collections import OrderedDict

import numpy as np
import pytest

from tuner import search_space as ss
from tuner.errors import SearchSpaceError

SPACE = {
    "n": {"a": ss.grid_search([1, 2]), "b": ss.uniform(0, 1)},
    "l": [ss.grid_search([1, 2]), {"x": ss.choice([3, 4])}],
    "t": (ss.choice([5]), 6),
    "s": ss.sample_from(lambda spec: spec.config.n.b * 2),
    "c": 7,
    "p/q": ss.choice([8]),
    9: {"z": ss.choice([1, 2])},
}


def resolve(point, grid_point=0):
    return ss.resolve(SPACE, grid_point=grid_point, rng=np.random.default_rng(0), point=point)


@pytest.mark.parametrize(
    ("point", "size"),
    [
        ({"n": {"a": 2, "b": 0.5}}, 2),
        ({"n/a": 2, "n/b": 0.5}, 2),
        ({"n": {"a": 2}, "n/b": 0.5}, 2),
        ({"n/a": 2, "n/b": 0.5, "l": [1, {"x": 4}]}, 1),
        ({"n/a": 2, "n/b": 0.5, "l/0": 1, "l/1/x": 4}, 1),
        ({"n/a": 2, "n/b": 0.5, "l": {"0": 1, "1/x": 4}}, 1),
    ],
)
def test_values_are_set_nested_or_flat(point, size):
    space = ss.SearchSpace(SPACE).preset(point)
    assert space.size == size
    config = resolve(point)
    assert config["n"] == {"a": 2, "b": 0.5}
    assert config["s"] == 1.0
    if size == 1:
        assert config["l"] == [1, {"x": 4}]


def test_what_a_point_leaves_open_is_drawn_and_expanded():
    space = ss.SearchSpace(SPACE).preset({"n/b": 0.25})
    assert space.size == 4
    configs = [space.resolve(point, rng=np.random.default_rng(0)) for point in range(4)]
    assert {(config["l"][0], config["n"]["a"]) for config in configs} == {
        (1, 1),
        (2, 1),
        (1, 2),
        (2, 2),
    }
    assert all(config["n"]["b"] == 0.25 and config["s"] == 0.5 for config in configs)


def test_an_empty_point_changes_nothing():
    assert resolve({}) == resolve(None)


def test_other_forms_of_names_and_values():
    assert resolve({"s": 3})["s"] == 3
    assert resolve({"p/q": 8})["p/q"] == 8
    assert resolve({9: {"z": 2}})[9] == {"z": 2}
    assert resolve({"9/z": 2})[9] == {"z": 2}
    assert resolve({"t": (5, 6)})["t"] == (5, 6)
    assert resolve({"t": [5, 6]})["t"] == (5, 6)


def test_a_point_does_not_change_the_space_and_is_copied():
    kept, point = repr(SPACE), {"s": [1, [2]]}
    first, second = resolve(point), resolve(point)
    first["s"][1].append(3)
    assert second["s"] == [1, [2]]
    assert point == {"s": [1, [2]]}
    assert repr(SPACE) == kept


def test_classes_are_kept():
    space = {"o": OrderedDict(b=ss.uniform(0, 1), a=1)}
    config = ss.resolve(space, rng=np.random.default_rng(0), point={"o": {"b": 0.5}})
    assert config == {"o": OrderedDict(b=0.5, a=1)}
    assert type(config["o"]) is OrderedDict


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (
            {"zz": 1},
            "points_to_evaluate: 'zz' is not in the search space, which has "
            "'n', 'l', 't', 's', 'c', 'p/q', 9 here",
        ),
        (
            {"n": {"aa": 1}},
            "points_to_evaluate: 'n/aa' is not in the search space, which has 'a', 'b' here; "
            "did you mean 'a'?",
        ),
        ({"n/zz": 1}, "points_to_evaluate: 'n/zz' is not in the search space, which has"),
        ({"zz/a": 1}, "points_to_evaluate: 'zz/a' is not in the search space, which has"),
        (
            {"n": 3},
            "points_to_evaluate: n=3 does not fit: the search space has a dict here, with 'a', 'b'",
        ),
        (
            {"l": [1]},
            "points_to_evaluate: l=[1] does not fit: the search space has 2 items here; "
            "give as many",
        ),
        (
            {"l": 1},
            "points_to_evaluate: l=1 does not fit: the search space has 2 items here; give as many",
        ),
        (
            {"l/2": 1},
            "points_to_evaluate: l/2=1 does not fit: the search space has 2 items here",
        ),
        (
            {"l/first": 1},
            "points_to_evaluate: l/first=1 does not fit: the search space has 2 items here",
        ),
        ([1], "points_to_evaluate: [1] does not fit: the search space has a dict here, with"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(point, message):
    with pytest.raises(SearchSpaceError) as raised:
        resolve(point)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"n/a": 7}, "n/a=7 is outside of grid_search([1, 2])"),
        ({"n/b": 7}, "n/b=7 is outside of uniform(0.0, 1.0)"),
        ({"l/1/x": "y"}, "l/1/x='y' is outside of choice([3, 4])"),
        ({"c": 8}, "c=8 is not the search space's constant 7"),
    ],
)
def test_a_value_out_of_range_is_used_with_a_warning(point, message, caplog):
    with caplog.at_level(logging.WARNING):
        config = resolve(point)
    assert caplog.messages == [f"points_to_evaluate: {message}; it is used as given"]
    [(name, value)] = point.items()
    for part in name.split("/"):
        config = config[int(part) if part.isdecimal() else part]
    assert config == value


def test_values_that_could_have_been_drawn_give_no_warning(caplog):
    space = {
        "grid": ss.grid_search([{"kind": "a", "lr": ss.uniform(0, 1)}, [ss.choice([1, 2]), 3]]),
        "drawn": ss.choice([np.arange(3), ss.uniform(5, 6)]),
        "constant": np.zeros(2),
    }
    points = [
        {"grid": {"kind": "a", "lr": 0.5}},
        {"grid": [2, 3]},
        {"drawn": np.arange(3)},
        {"drawn": 5.5},
        {"constant": np.zeros(2)},
    ]
    with caplog.at_level(logging.WARNING):
        for point in points:
            ss.SearchSpace(space).preset(point)
    assert caplog.messages == []
