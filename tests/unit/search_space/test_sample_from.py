"""`sample_from`: dependencies in any order, circles, errors, and the streams it draws from."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner import search_space as ss
from tuner.errors import SearchSpaceError


def resolve(space, grid_point=0, seed=0):
    return ss.resolve(space, grid_point=grid_point, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")))
def test_dependencies_stand_in_any_order(order):
    parameters = {
        "a": ss.sample_from(lambda spec: spec.config.b + 1),
        "b": ss.sample_from(lambda spec: spec["config"]["c"] * 10),
        "c": ss.sample_from(lambda config: config["d"] * 10),
        "d": ss.grid_search([1, 2]),
    }
    space = {name: parameters[name] for name in order}
    assert resolve(space, 0) == {"a": 101, "b": 100, "c": 10, "d": 1}
    assert resolve(space, 1) == {"a": 201, "b": 200, "c": 20, "d": 2}


@given(st.permutations(range(8)), st.data())
def test_chains_of_any_shape_resolve_and_call_each_function_once(order, data):
    calls = []

    def adds_one_to(name, parent):
        def func(spec):
            calls.append(name)
            return spec.config[parent] + 1

        return ss.sample_from(func)

    parents = {n: data.draw(st.integers(0, n - 1)) for n in range(1, 8)}
    space = {f"p{n}": adds_one_to(n, f"p{parents[n]}") if n else 0 for n in order}
    config = resolve(space)
    assert all(config[f"p{n}"] == config[f"p{parents[n]}"] + 1 for n in parents)
    assert sorted(calls) == list(range(1, 8))


def test_nested_parameters_are_read_by_attribute_and_by_item():
    space = {
        "model": {"depth": ss.choice([3]), "units": [ss.choice([4]), {"k": ss.choice([5])}]},
        "fixed": {"deep": {"x": 6}, "rows": [{"y": 7}], "plain": [1, 2]},
        "read": ss.sample_from(
            lambda spec: [
                spec.config.model.depth,
                spec.config["model"]["depth"],
                spec["config"].model["units"][0],
                spec.config.model.units[1].k,
                spec.config.fixed.deep.x,
                spec.config.fixed.rows[0].y,
                spec.config.fixed.plain[-1],
                spec.model.depth,
            ]
        ),
    }
    assert resolve(space)["read"] == [3, 3, 4, 5, 6, 7, 2, 3]


def test_the_configuration_reads_like_a_dict():
    space = {
        "a": 1,
        "m": {"x": ss.choice([2]), "y": 3},
        "read": ss.sample_from(
            lambda spec: {
                "get": spec.config.get("a"),
                "default": spec.config.get("none", 9),
                "attribute": getattr(spec.config, "none", 8),
                "in": ("a" in spec.config, "read" in spec.config, "none" in spec.config),
                "keys": sorted(spec.config),
                "dict": dict(spec.config.m),
                "items": sorted(spec.config.m.items()),
                "star": {**spec.config.m, "y": 4},
                "len": len(spec.config.m),
                "equal": spec.config.m == {"x": 2, "y": 3},
                "text": str(spec.config),
            }
        ),
    }
    assert resolve(space)["read"] == {
        "get": 1,
        "default": 9,
        "attribute": 8,
        "in": (True, True, False),
        "keys": ["a", "m", "read"],
        "dict": {"x": 2, "y": 3},
        "items": [("x", 2), ("y", 3)],
        "star": {"x": 2, "y": 4},
        "len": 2,
        "equal": True,
        "text": "ConfigView(a, m, read)",
    }


def test_lists_without_dicts_are_real_lists():
    seen = []
    space = {
        "layers": [ss.choice([16]), ss.grid_search([64, 256])],
        "shape": (ss.choice([2]), 3),
        "total": ss.sample_from(lambda s: seen.extend([s.config.layers, s.config.shape])),
    }
    resolve(space)
    assert seen == [[16, 64], (2, 3)]
    assert list(map(type, seen)) == [list, tuple]


def test_an_item_may_depend_on_another_item_of_its_list():
    def halved(spec):
        return spec.config.layers[0] // 2

    assert resolve({"layers": [ss.choice([64]), ss.sample_from(halved)]}) == {"layers": [64, 32]}
    assert resolve({"layers": (ss.sample_from(lambda s: s.config.layers[1] + 1), 5)}) == {
        "layers": (6, 5)
    }
    crossed = {
        "x": ss.sample_from(lambda s: s.config.layers[0] + 1),
        "layers": [1, ss.sample_from(lambda s: s.config.x + 1)],
    }
    assert resolve(crossed) == {"x": 2, "layers": [1, 3]}


def test_a_parameter_may_depend_on_a_sibling_inside_a_choice():
    space = {
        "model": ss.choice(
            [{"lr": ss.choice([0.5]), "decay": ss.sample_from(lambda s: s.config.model.lr / 2)}]
        )
    }
    assert resolve(space) == {"model": {"lr": 0.5, "decay": 0.25}}


def test_a_function_may_return_a_domain_or_values_with_domains():
    space = {
        "high": ss.choice([10]),
        "low": ss.sample_from(lambda spec: ss.randint(0, spec.config.high)),
        "model": ss.sample_from(lambda spec: {"x": [ss.uniform(1, 2)], "y": spec.config.high}),
        "again": ss.sample_from(lambda _: ss.sample_from(lambda spec: spec.config.high * 2)),
    }
    lows = {resolve(space, seed=seed)["low"] for seed in range(100)}
    assert lows == set(range(10))
    config = resolve(space)
    assert 1 <= config["model"]["x"][0] <= 2
    assert config["model"]["y"] == 10
    assert config["again"] == 20


def test_a_function_may_hand_back_a_part_of_the_configuration():
    space = {
        "copy": ss.sample_from(lambda spec: {"of": spec.config.model}),
        "model": {"x": ss.choice([1]), "rows": [{"y": ss.choice([2])}]},
    }
    config = resolve(space)
    assert config["copy"]["of"] == config["model"] == {"x": 1, "rows": [{"y": 2}]}
    assert type(config["copy"]["of"]) is dict
    assert type(config["copy"]["of"]["rows"]) is list
    assert config["copy"]["of"] is not config["model"]


def reads(name):
    return ss.sample_from(lambda spec: spec.config[name])


@pytest.mark.parametrize(
    ("space", "circle"),
    [
        ({"a": reads("b"), "b": reads("a")}, "a -> b -> a"),
        ({"a": reads("a")}, "a -> a"),
        ({"x": reads("a"), "a": reads("b"), "b": reads("c"), "c": reads("a")}, "a -> b -> c -> a"),
        (
            {"m": {"y": reads("z")}, "z": ss.sample_from(lambda s: s.config.m.y)},
            "m/y -> z -> m/y",
        ),
        ({"l": [1, ss.sample_from(lambda s: s.config.l[1])]}, "l/1 -> l/1"),
        ({"a": ss.sample_from(lambda spec: spec.config)}, "a -> a"),
        ({"a": ss.sample_from(lambda _: reads("a"))}, "a -> a"),
    ],
)
def test_a_circle_is_named(space, circle):
    with pytest.raises(SearchSpaceError) as raised:
        resolve(space)
    assert str(raised.value) == (
        f"sample_from: {circle} depend on each other in a circle; "
        "give one of them a value that reads none of the others"
    )


def test_a_function_may_get_by_without_what_it_cannot_have():
    def func(spec):
        try:
            return spec.config.b
        except SearchSpaceError:
            return 1

    space = {"a": ss.sample_from(func), "b": ss.sample_from(lambda s: s.config.a + 1)}
    assert resolve(space) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (
            lambda spec: spec.config.zz,
            "m/a: the sample_from function raised AttributeError: "
            "no parameter 'zz' here; there are: 'm', 'x'",
        ),
        (
            lambda spec: spec.config["zz"],
            "m/a: the sample_from function raised KeyError: "
            "no parameter 'zz' here; there are: 'm', 'x'",
        ),
        (lambda spec: 1 / 0, "m/a: the sample_from function raised ZeroDivisionError: "),
        (lambda spec: [][1], "m/a: the sample_from function raised IndexError: "),
        (
            lambda spec: ss.grid_search([1, 2]),
            "m/a: sample_from returned a grid_search, which would make the number of trials a "
            "matter of chance; return choice(...), or use grid_search directly",
        ),
    ],
)
def test_a_failing_function_is_named(func, message):
    with pytest.raises(SearchSpaceError) as raised:
        resolve({"m": {"a": ss.sample_from(func)}, "x": 1})
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_functions_without_arguments_and_in_c():
    space = {"a": ss.sample_from(random.random), "b": ss.sample_from(lambda: 3)}
    config = resolve(space)
    assert 0 <= config["a"] < 1
    assert config["b"] == 3


def test_functions_draw_from_seeded_streams_and_leave_the_users_own_alone():
    space = {
        "a": ss.sample_from(lambda _: random.random()),
        "b": ss.sample_from(lambda spec: spec.config.c * np.random.normal()),
        "c": ss.sample_from(lambda _: np.random.uniform()),
    }
    random.seed(5)
    np.random.seed(5)
    np.random.normal()  # leaves the second number of a pair in store
    before = random.getstate(), np.random.get_state(legacy=False)
    first = resolve(space)
    assert random.getstate() == before[0]
    np.testing.assert_equal(np.random.get_state(legacy=False), before[1])
    random.seed(6)
    np.random.seed(6)
    assert resolve(space) == first
    assert resolve(space, seed=1)["a"] != first["a"]
    assert resolve(space, seed=1)["c"] != first["c"]


def test_the_users_streams_come_back_also_after_an_error():
    before = random.getstate()
    with pytest.raises(SearchSpaceError):
        resolve({"a": ss.sample_from(lambda _: random.random() / 0)})
    assert random.getstate() == before


def test_what_a_function_draws_does_not_depend_on_who_was_called_before():
    def draws(spec):
        return random.random(), np.random.random()

    def asks_first(spec):
        return (spec.config.z, *draws(spec))

    lone = resolve({"m": ss.sample_from(draws), "z": ss.sample_from(draws)})
    asking = resolve({"m": ss.sample_from(asks_first), "z": ss.sample_from(draws)})
    assert asking["m"] == (lone["z"], *lone["m"])
    assert lone["m"] != lone["z"]
    assert lone["m"][0] != lone["m"][1]
