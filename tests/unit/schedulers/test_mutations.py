"""How explored configurations differ from the ones that they come from."""

import random
from collections import Counter

import numpy as np
import pytest

import tuner as tune
from tuner.errors import ConfigError
from tuner.schedulers.mutations import Mutations


def explored(space, value, *, resample=0.0, factors=(1.2, 0.8), seeds=range(200)):
    """All that one value becomes."""
    mutations = Mutations("PBT", {"x": space})
    return {
        mutations.explored({"x": value}, seed=seed, resample_probability=resample, factors=factors)[
            "x"
        ]
        for seed in seeds
    }


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        ([1, 2, 4, 8], 4, {2, 8}),
        ((1, 2, 4, 8), 1, {1, 2}),
        (tune.choice(["a", "b", "c"]), "c", {"b", "c"}),
        (["only"], "only", {"only"}),
        (lambda: 7, 10.0, {12.0, 8.0}),
        (lambda: 7, 10, {12, 8}),
        (lambda: 7, np.int64(10), {12, 8}),
        (tune.uniform(0, 11), 10.0, {11.0, 8.0}),
        (tune.loguniform(9, 100), 10.0, {12.0, 9.0}),
        (tune.quniform(0, 11, 0.5), 9.0, {11.0, 7.0}),
        (tune.quniform(0, 1, 0.1), 0.3, {0.4, 0.2}),
        (tune.randint(0, 12), 10, {11, 8}),
        (tune.qrandint(0, 100, 8), 40, {48, 32}),
        (tune.qrandint(0, 44, 8), 40, {40, 32}),
        (tune.randn(0, 1), 10.0, {12.0, 8.0}),
        (tune.qrandn(0, 1, 5), 10.0, {10.0}),
        (tune.uniform(0, 100), 10, {12, 8}),
        (lambda: False, True, {True}),
    ],
)
def test_values_move_to_neighbours_and_stay_in_their_domain(space, value, expected):
    found = explored(space, value)
    assert found == expected
    assert {type(each) for each in found} == {type(each) for each in expected}


@pytest.mark.parametrize(
    ("space", "value"),
    [([1, 2, 3], 99), ([1, 2, 3], None), (lambda: random.choice([1, 2, 3]), "text")],
)
def test_what_cannot_move_is_drawn_anew(space, value):
    assert explored(space, value) == {1, 2, 3}


def test_with_the_resample_probability_values_are_drawn_anew():
    values = list(range(1000))
    mutations = Mutations("PBT", {"x": values})
    moved = Counter(
        abs(
            mutations.explored({"x": 500}, seed=seed, resample_probability=0.3, factors=(2,))["x"]
            - 500
        )
        > 1
        for seed in range(1000)
    )
    assert 0.25 < moved[True] / 1000 < 0.35
    assert explored(tune.uniform(5, 6), 1.0, resample=1.0) != {1.2, 0.8}
    assert all(5 <= x <= 6 for x in explored(tune.uniform(5, 6), 1.0, resample=1.0))
    assert explored(lambda: True, False, resample=1.0) == {True}


def test_nested_hyperparameters_and_nothing_else_change():
    kept = object()
    config = {"net": {"width": 8, "act": kept}, "data": [kept], "lr": 1.0}
    mutations = Mutations("PBT", {"net": {"width": [4, 8, 16]}, "lr": tune.uniform(0, 9)})
    new = mutations.explored(config, seed=3, resample_probability=0, factors=(2,))
    assert new["net"]["width"] in (4, 16)
    assert new["lr"] == 2.0
    assert new["net"]["act"] is new["data"][0] is kept
    assert new["data"] is not config["data"]
    assert config == {"net": {"width": 8, "act": kept}, "data": [kept], "lr": 1.0}


def test_what_is_missing_is_drawn_and_never_a_key_error():
    mutations = Mutations("PBT", {"net": {"width": [4], "deep": {"n": [1]}}, "lr": [0.5]})
    options = {"seed": 1, "resample_probability": 0.0, "factors": (2,)}
    full = {"net": {"width": 4, "deep": {"n": 1}}, "lr": 0.5}
    assert mutations.explored({}, **options) == full
    assert mutations.explored({"net": 3}, **options) == full
    assert mutations.completed({}, seed=1) == full
    partly = {"net": {"width": 9}, "lr": 7}
    assert mutations.completed(partly, seed=1) == {"net": {"width": 9, "deep": {"n": 1}}, "lr": 7}
    assert partly == {"net": {"width": 9}, "lr": 7}
    assert mutations.completed(full, seed=1) is full


def test_what_functions_draw_comes_from_the_seed_and_the_global_streams_are_put_back():
    mutations = Mutations("PBT", {"x": random.random, "y": np.random.rand})
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    first = mutations.completed({}, seed=1)
    assert (random.random(), np.random.rand()) == expected
    assert mutations.completed({}, seed=1) == first
    assert mutations.completed({}, seed=2) != first
    assert first["x"] != first["y"]


@pytest.mark.parametrize(
    ("mutations", "words"),
    [
        ([1], "hyperparam_mutations=.*dictionary"),
        ({"lr": 0.1}, r"\['lr'\]=0.1.*use a list"),
        ({"net": {"lr": "x"}}, r"\['net'\]\['lr'\]='x'"),
        ({"lr": []}, "at least one"),
        ({"lr": tune.sample_from(lambda spec: 1)}, "function without arguments"),
        ({"lr": tune.grid_search([1, 2])}, "list of its values"),
        ({"lr": [tune.uniform(0, 1)]}, "list values, not domains"),
        ({"lr": tune.choice([tune.uniform(0, 1)])}, "list values, not domains"),
    ],
)
def test_other_kinds_are_refused_by_name(mutations, words):
    with pytest.raises(ConfigError, match=words) as error:
        Mutations("PBT", mutations)
    assert "\n" not in str(error.value)
