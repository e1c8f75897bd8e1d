"""The functions users type: signatures, and one clear line for each thing that cannot work."""

import inspect
import math

import numpy as np
import pytest

from tuner import search_space as ss
from tuner.errors import ConfigError, SearchSpaceError


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (ss.uniform, (5, 1), "uniform(5, 1): lower is above upper; swap the two"),
        (ss.uniform, ("0", 1), "uniform('0', 1): lower must be a number, got '0'"),
        (ss.uniform, (0, math.inf), "uniform(0, inf): upper must be finite, got inf"),
        (ss.uniform, (math.nan, 1), "uniform(nan, 1): lower must be finite, got nan"),
        (ss.uniform, (None, 1), "uniform(None, 1): lower must be a number, got None"),
        (ss.uniform, ([0, 1], 1), "uniform([0, 1], 1): lower must be a number, got [0, 1]"),
        (
            ss.loguniform,
            (0, 1),
            "loguniform(0, 1): lower must be above 0 on a log scale; "
            "give the bounds themselves, not logs",
        ),
        (
            ss.loguniform,
            (-4, -1),
            "loguniform(-4, -1): lower must be above 0 on a log scale; "
            "give the bounds themselves, not logs",
        ),
        (
            ss.loguniform,
            (1, 10, 1),
            "loguniform(1, 10, base=1): base must be above 0 and not 1, got 1",
        ),
        (ss.quniform, (0, 1, 0), "quniform(0, 1, 0): q must be above 0, got 0.0"),
        (ss.quniform, (0, 1, -0.1), "quniform(0, 1, -0.1): q must be above 0, got -0.1"),
        (
            ss.quniform,
            (0, 1, 2),
            "quniform(0, 1, 2): q is larger than the range; give at most 1.0",
        ),
        (
            ss.quniform,
            (0.05, 1, 0.1),
            "quniform(0.05, 1, 0.1): lower=0.05 is no multiple of q=0.1; the nearest is 0.0",
        ),
        (
            ss.quniform,
            (0, 1.05, 0.1),
            "quniform(0, 1.05, 0.1): upper=1.05 is no multiple of q=0.1; the nearest is 1.0",
        ),
        (
            ss.qloguniform,
            (1e-4, 1e-1, 5e-4),
            "qloguniform(0.0001, 0.1, 0.0005): lower=0.0001 is no multiple of q=0.0005; "
            "the nearest is 0.0",
        ),
        (ss.randn, (0, -1), "randn(0, -1): sd is negative; give 0 or more"),
        (
            ss.randn,
            ([1, 2],),
            "randn([1, 2], 1.0): mean must be a number; to draw from a list, use choice(list)",
        ),
        (ss.qrandn, (0, 1, 0), "qrandn(0, 1, 0): q must be above 0, got 0.0"),
        (
            ss.randint,
            (3, 3),
            "randint(3, 3): nothing to draw, since upper itself is not drawn; raise upper by 1",
        ),
        (ss.randint, (5, 1), "randint(5, 1): lower is above upper; swap the two"),
        (ss.randint, (0.5, 3), "randint(0.5, 3): lower must be a whole number, got 0.5"),
        (
            ss.randint,
            (0, 2**64),
            "randint(0, 18446744073709551616): upper must fit into 64 bits, "
            "got 18446744073709551616",
        ),
        (ss.qrandint, (0, 10, 0), "qrandint(0, 10, 0): q must be 1 or more, got 0"),
        (ss.qrandint, (0, 10, 0.5), "qrandint(0, 10, 0.5): q must be a whole number, got 0.5"),
        (
            ss.qrandint,
            (4, 5, 3),
            "qrandint(4, 5, 3): no multiple of q=3 lies between the bounds; lower q",
        ),
        (
            ss.lograndint,
            (0, 10),
            "lograndint(0, 10): lower must be 1 or more on a log scale; "
            "give the bounds themselves, not logs",
        ),
        (ss.choice, ([],), "choice([]): the values are empty; give at least one"),
        (
            ss.choice,
            ("abc",),
            "choice('abc'): the values must be a list such as ['abc'], not a single text",
        ),
        (ss.choice, (3,), "choice(3): the values must be a list such as [3]"),
        (
            ss.grid_search,
            ("abc",),
            "grid_search('abc'): the values must be a list such as ['abc'], not a single text",
        ),
        (ss.grid_search, ([],), "grid_search([]): the values are empty; give at least one"),
        (ss.grid_search, (3,), "grid_search(3): the values must be a list such as [3]"),
        (
            ss.grid_search,
            ({"a": 1},),
            "grid_search({'a': 1}): the values must be a list, not a dict; "
            "give list(d) or list(d.values())",
        ),
        (
            ss.sample_from,
            (3,),
            "sample_from(3): needs a function, such as lambda spec: spec.config.x * 2",
        ),
    ],
)
def test_what_cannot_work_is_said_in_one_line(function, args, message):
    with pytest.raises(SearchSpaceError) as raised:
        function(*args)
    assert str(raised.value) == message
    assert "\n" not in message


def test_a_function_of_two_arguments_is_refused():
    with pytest.raises(SearchSpaceError, match="must take one argument, such as lambda spec:"):
        ss.sample_from(lambda spec, other: 3)


def test_errors_are_config_errors_and_value_errors():
    assert issubclass(SearchSpaceError, ConfigError)
    assert issubclass(SearchSpaceError, ValueError)


def test_long_values_are_shortened():
    with pytest.raises(SearchSpaceError) as raised:
        ss.uniform(list(range(1000)), 1)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        ("uniform", ["lower", "upper"]),
        ("quniform", ["lower", "upper", "q"]),
        ("loguniform", ["lower", "upper", "base"]),
        ("qloguniform", ["lower", "upper", "q", "base"]),
        ("randn", ["mean", "sd"]),
        ("qrandn", ["mean", "sd", "q"]),
        ("randint", ["lower", "upper"]),
        ("qrandint", ["lower", "upper", "q"]),
        ("lograndint", ["lower", "upper", "base"]),
        ("qlograndint", ["lower", "upper", "q", "base"]),
        ("choice", ["categories"]),
        ("sample_from", ["func"]),
        ("grid_search", ["values"]),
    ],
)
def test_argument_names_are_the_fields(function, signature):
    assert list(inspect.signature(getattr(ss, function)).parameters) == signature


def test_defaults():
    assert ss.randn() == ss.randn(0.0, 1.0)
    assert ss.qrandint(0, 5) == ss.qrandint(0, 5, 1)
    assert ss.loguniform(1, 2) == ss.loguniform(1, 2, 10)


def test_numpy_numbers_and_whole_floats_are_numbers():
    assert ss.uniform(np.float32(0), np.int64(1)) == ss.uniform(0, 1)
    assert ss.randint(np.int64(1), 1e3) == ss.randint(1, 1000)


def test_bounds_that_a_program_computed_count_as_multiples():
    domain = ss.quniform(0.1 * 3, 0.1 * 7, 0.1)
    assert set(domain.sample(size=500, random_state=0)) == {0.1 * 3, 0.4, 0.5, 0.6, 0.1 * 7}
    thirds = ss.quniform(0, 1, 1 / 3)
    assert set(thirds.sample(size=500, random_state=0)) == {0.0, 1 / 3, 2 / 3, 1.0}


@pytest.mark.parametrize("function", [ss.choice, lambda values: ss.grid_search(values)])
def test_values_may_come_from_any_iterable(function):
    def values(result):
        return list(result["grid_search"] if isinstance(result, dict) else result.categories)

    assert values(function(range(3))) == [0, 1, 2]
    assert values(function(n for n in (1, 2))) == [1, 2]
    assert values(function(("a", "b"))) == ["a", "b"]
    assert values(function(np.array([1.5, 2.5]))) == [1.5, 2.5]
    assert values(function({"b", "a", "c"})) == ["a", "b", "c"]
    assert values(function({"k": 1, "l": 2}.values())) == [1, 2]
