"""From search spaces to configurations: grids, nesting, copies, flat names."""

import copy
import pickle
import random
from collections import OrderedDict, defaultdict, namedtuple
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner import search_space as ss
from tuner.errors import SearchSpaceError

Pair = namedtuple("Pair", "left right")
Shape = type("Shape", (tuple,), {})
Settings = type("Settings", (dict,), {})
Layers = type("Layers", (list,), {})


def rng(seed=0):
    return np.random.default_rng(seed)


def every(space, seed=0):
    return [
        ss.resolve(space, grid_point=point, rng=rng(seed)) for point in range(ss.grid_size(space))
    ]


def test_a_space_without_places_gives_itself():
    space = {"a": 1, "b": [2, {"c": None}], "d": ()}
    assert ss.resolve(space, rng=rng()) == space
    assert ss.grid_size(space) == 1
    assert not ss.has_unresolved(space)


@pytest.mark.parametrize("space", [None, {}])
def test_an_empty_space_gives_an_empty_configuration(space):
    assert ss.resolve(space, rng=rng()) == {}
    assert ss.grid_size(space) == 1
    assert not ss.has_unresolved(space)


def test_a_space_that_is_no_dict_is_refused():
    with pytest.raises(SearchSpaceError, match=r"param_space=\[1\]: give a dict"):
        ss.resolve([1], rng=rng())


def test_the_grid_of_the_user_guide():
    space = {
        "qux": ss.sample_from(lambda spec: 2 + 2),
        "bar": ss.grid_search([True, False]),
        "foo": ss.grid_search([1, 2, 3]),
        "baz": "asd",
    }
    assert [(c["bar"], c["foo"]) for c in every(space)] == [
        (True, 1),
        (False, 1),
        (True, 2),
        (False, 2),
        (True, 3),
        (False, 3),
    ]
    assert all(c["qux"] == 4 and c["baz"] == "asd" for c in every(space))


def test_grids_turn_in_the_order_of_their_names():
    space = {"z": ss.grid_search([1, 2]), "m": {"b": ss.grid_search([3, 4])}, 3: [0] * 11}
    space[3][10] = ss.grid_search([5, 6])
    space[3][2] = ss.grid_search([7, 8])
    points = [(c[3][2], c[3][10], c["m"]["b"], c["z"]) for c in every(space)]
    assert points[:5] == [(7, 5, 3, 1), (8, 5, 3, 1), (7, 6, 3, 1), (8, 6, 3, 1), (7, 5, 4, 1)]
    assert len(set(points)) == 16


def test_a_grid_written_out_by_hand():
    assert every({"a": {"grid_search": (1, 2)}}) == [{"a": 1}, {"a": 2}]
    with pytest.raises(SearchSpaceError, match="grid_search\\('ab'\\): the values must be a list"):
        ss.grid_size({"a": {"grid_search": "ab"}})
    with pytest.raises(SearchSpaceError, match="empty"):
        ss.grid_size({"a": {"grid_search": []}})


def test_a_dict_with_more_than_a_grid_in_it_is_a_dict():
    space = {"a": {"grid_search": [1, 2], "other": 3}}
    assert every(space) == [space]


def test_grids_in_lists_tuples_and_named_tuples():
    grid = ss.grid_search([1, 2])
    assert every({"a": [grid, 3]}) == [{"a": [1, 3]}, {"a": [2, 3]}]
    assert every({"a": (3, (grid,))}) == [{"a": (3, (1,))}, {"a": (3, (2,))}]
    assert every({"a": Pair(0, [grid])}) == [{"a": Pair(0, [1])}, {"a": Pair(0, [2])}]
    assert type(every({"a": Pair(0, grid)})[0]["a"]) is Pair


def test_grids_and_domains_inside_grid_values():
    space = {
        "model": ss.grid_search(
            [
                {"kind": "mlp", "layers": ss.grid_search([1, 2])},
                {"kind": "svm", "c": ss.choice([7])},
                ss.grid_search(["a", "b"]),
                ss.uniform(5, 5),
            ]
        ),
        "z": ss.grid_search([0, 1]),
    }
    expected = [
        {"kind": "mlp", "layers": 1},
        {"kind": "mlp", "layers": 2},
        {"kind": "svm", "c": 7},
        "a",
        "b",
        5.0,
    ]
    assert [c["model"] for c in every(space)] == expected * 2
    assert [c["z"] for c in every(space)] == [0] * 6 + [1] * 6


GRIDS = st.recursive(
    st.integers() | st.just(ss.uniform(0, 1)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
        | st.lists(inner, min_size=1, max_size=3).map(ss.grid_search)
        | st.lists(inner, max_size=2).map(tuple)
    ),
    max_leaves=12,
)


def count(value):
    """The number of configurations, written down independently of the library."""
    if isinstance(value, dict) and "grid_search" in value:
        return sum(map(count, value["grid_search"]))
    if isinstance(value, (list, tuple)):
        return prod(map(count, value))
    return prod(map(count, value.values())) if isinstance(value, dict) else 1


@given(st.dictionaries(st.sampled_from("abcd"), GRIDS, max_size=3))
def test_the_size_is_what_grids_multiply_and_options_add_up_to(space):
    assert ss.grid_size(space) == count(space)


@given(st.dictionaries(st.sampled_from("abcd"), GRIDS, max_size=3))
def test_grid_points_give_different_configurations_without_places(space):
    distinct = copy.deepcopy(space)
    number_options(distinct, iter(range(10_000)))
    size = min(ss.grid_size(distinct), 200)
    configs = [ss.resolve(distinct, grid_point=point, rng=rng()) for point in range(size)]
    assert not any(map(ss.has_unresolved, configs))
    assert len({repr(config) for config in configs}) == size


def number_options(value, numbers):
    """Makes the options of every grid differ from each other."""
    if isinstance(value, dict) and "grid_search" in value:
        value["grid_search"] = [(next(numbers), option) for option in value["grid_search"]]
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list, tuple)):
        for child in children:
            number_options(child, numbers)


def test_a_grid_point_that_does_not_exist_is_refused():
    for point in (-1, 2):
        with pytest.raises(SearchSpaceError, match="give 0 to 1"):
            ss.resolve({"a": ss.grid_search([1, 2])}, grid_point=point, rng=rng())


def test_a_grid_inside_a_choice_is_refused():
    with pytest.raises(SearchSpaceError, match="model/kind: a grid_search inside choice"):
        ss.grid_size({"model": {"kind": ss.choice([1, {"x": ss.grid_search([1, 2])}])}})


def test_domains_inside_choices_are_drawn():
    space = {"a": ss.choice([{"x": ss.uniform(1, 2), "y": [ss.choice([5])]}]), "b": ss.choice([3])}
    config = ss.resolve(space, rng=rng())
    assert 1 <= config["a"]["x"] <= 2
    assert config == {"a": {"x": config["a"]["x"], "y": [5]}, "b": 3}


def test_the_same_stream_gives_the_same_configuration():
    space = {
        "a": ss.uniform(0, 1),
        "b": ss.choice(list(range(1000))),
        "c": ss.sample_from(lambda _: (random.random(), np.random.normal())),
    }
    assert ss.resolve(space, rng=rng(1)) == ss.resolve(space, rng=rng(1))
    assert ss.resolve(space, rng=rng(1)) != ss.resolve(space, rng=rng(2))


def test_one_domain_object_in_two_places_is_drawn_twice():
    domain = ss.uniform(0, 1)
    config = ss.resolve({"a": domain, "b": domain}, rng=rng())
    assert config["a"] != config["b"]


def mutable_parts(value):
    if isinstance(value, (dict, list, tuple)):
        if not isinstance(value, tuple):
            yield id(value)
        for item in value.values() if isinstance(value, dict) else value:
            yield from mutable_parts(item)


def test_every_configuration_has_its_own_dicts_and_lists():
    category, option, held = {"layers": [1, 2]}, [3, [4]], [5]
    space = {
        "fixed": {"a": [1, {"b": []}]},
        "in_tuple": ([1], {"x": []}),
        "drawn": ss.choice([category]),
        "grid": ss.grid_search([option]),
        "computed": ss.sample_from(lambda _: {"held": held}),
        "sibling": ss.sample_from(lambda spec: spec.config.fixed),
        "domain": [ss.uniform(0, 1)],
    }
    configs = [ss.resolve(space, rng=rng()) for _ in range(2)]
    seen = [*mutable_parts(space), *mutable_parts(configs[0]), *mutable_parts(configs[1])]
    seen += [*mutable_parts(category), *mutable_parts(held)]
    assert len(seen) == len(set(seen))
    assert configs[0] == configs[1]
    assert configs[0]["sibling"] == space["fixed"]


def test_other_values_are_shared():
    array, shape, made = np.arange(3), Shape((1, 2)), object()
    space = {"array": array, "kind": ss.choice([dict]), "f": [len], "o": (made,), "shape": shape}
    config = ss.resolve(space, rng=rng())
    assert config["array"] is array
    assert config["kind"] is dict
    assert config["f"][0] is len
    assert config["o"][0] is made
    assert config["shape"] is shape


def test_classes_of_dicts_and_lists_are_kept():
    space = {
        "ordered": OrderedDict(b=ss.uniform(1, 1), a=2),
        "default": defaultdict(list, x=ss.uniform(1, 1)),
        "settings": Settings(y=[1]),
        "layers": Layers([ss.uniform(1, 1), 2]),
        "pair": Pair([1], 2),
    }
    config = ss.resolve(space, rng=rng())
    assert {name: type(value) for name, value in config.items()} == {
        "ordered": OrderedDict,
        "default": defaultdict,
        "settings": Settings,
        "layers": Layers,
        "pair": Pair,
    }
    assert list(config["ordered"].items()) == [("b", 1.0), ("a", 2)]
    assert config["default"]["missing"] == []
    assert config["layers"] == [1.0, 2]
    assert space["layers"][0] == ss.uniform(1, 1)
    assert "missing" not in space["default"]


def test_a_container_that_contains_itself_is_refused():
    loop = {"a": []}
    loop["a"].append(loop)
    with pytest.raises(SearchSpaceError, match="'a/0' contains itself; break the loop"):
        ss.grid_size(loop)


def test_the_same_container_may_stand_in_two_places():
    shared = [ss.choice([1])]
    assert ss.resolve({"a": shared, "b": shared}, rng=rng()) == {"a": [1], "b": [1]}


def test_has_unresolved_looks_everywhere():
    for place in (ss.uniform(0, 1), ss.grid_search([1]), ss.sample_from(lambda: 1)):
        assert ss.has_unresolved({"a": {"b": [1, (place,)]}})
    assert not ss.has_unresolved({"a": {"b": [1, (np.arange(3),)]}})


def test_evaluated_params_are_the_values_at_the_places():
    space = {
        "lr": ss.loguniform(1e-4, 1e-1),
        "fixed": 3,
        "nn_layers": [ss.grid_search([16, 64]), ss.grid_search([16, 64])],
        "model": {"kind": ss.choice([dict]), "pair": (1, ss.sample_from(lambda _: [7]))},
        5: ss.choice([1]),
    }
    config = ss.resolve(space, grid_point=1, rng=rng())
    assert ss.evaluated_params(space, config) == {
        "lr": config["lr"],
        "nn_layers/0": 64,
        "nn_layers/1": 16,
        "model/kind": dict,
        "model/pair/1": [7],
        "5": 1,
    }


def test_evaluated_params_of_a_configuration_that_lacks_places():
    space = {"a": {"x": ss.uniform(0, 1)}, "l": [ss.uniform(0, 1)] * 2, "b": ss.uniform(0, 1)}
    assert ss.evaluated_params(space, {"a": 3, "l": [0.5], "b": 0.1}) == {"l/0": 0.5, "b": 0.1}


def test_a_space_is_taken_apart_once():
    space = ss.SearchSpace({"a": ss.grid_search([1, 2])})
    assert ss.SearchSpace.of(space) is space
    assert ss.grid_size(space) == space.size == 2
    assert ss.resolve(space, grid_point=1, rng=rng()) == {"a": 2}
    assert pickle.loads(pickle.dumps(space)).resolve(1, rng=rng()) == {"a": 2}


def test_any_value_survives_a_choice():
    array = np.ones(1)
    values = [np.zeros(2), print, Pair, Pair(1, 2), {"k": array}, float("nan"), b"\0", None]
    space = ss.SearchSpace({"x": ss.grid_search(values), "y": ss.choice(values)})
    for point, value in enumerate(values):
        drawn = space.resolve(point, rng=rng())["x"]
        assert drawn["k"] is array if isinstance(value, dict) else drawn is value or drawn == value
        assert type(drawn) is type(value)
    assert len({type(space.resolve(rng=rng(seed))["y"]) for seed in range(200)}) == len(values)
