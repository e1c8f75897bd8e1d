"""What a restore is given of a search space again, and where it goes."""

from __future__ import annotations

import pickle
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import pytest

import tuner as tune
from tuner.codec import StandIn
from tuner.search_space.objects import difference, missing_objects, outline
from tuner.search_space.variants import SearchSpace


class Pair(NamedTuple):
    first: Any
    second: Any


class Level(StrEnum):
    LOW = "low"
    HIGH = "high"


class Ref:
    """Equal to nothing but itself, like most objects."""


def gone(config: Any) -> Any:
    """The configuration as a journal gives it back whose objects cannot be loaded."""
    if isinstance(config, Ref):
        return StandIn("Ref()")
    if isinstance(config, dict):
        return {key: gone(value) for key, value in config.items()}
    if isinstance(config, Pair):
        return Pair(*map(gone, config))
    return [gone(value) for value in config] if isinstance(config, list) else config


def spaces(make: Any) -> tuple[SearchSpace, SearchSpace]:
    return SearchSpace(make()), SearchSpace(make())


def test_constants_are_replaced_wherever_they_stand_and_all_else_stays() -> None:
    def make() -> dict[str, Any]:
        return {
            "ref": Ref(),
            "net": {"deep": [1, {"ref": Ref()}, Pair(Ref(), "text")], "array": np.zeros(2)},
            "x": tune.uniform(0, 1),
            "computed": tune.sample_from(lambda spec: spec.config.x),
            "drawn": [tune.randint(0, 9), 5, Ref()],
            3: b"bytes",
        }

    old, new = spaces(make)
    config = old.resolve(rng=np.random.default_rng(1))
    config["lr"] = "added by a searcher"
    fresh = new.refreshed(gone(config), old.chosen_objects(config))
    assert fresh["ref"] is new.space["ref"]
    assert fresh["net"]["deep"][1]["ref"] is new.space["net"]["deep"][1]["ref"]
    assert fresh["net"]["deep"][2] == Pair(new.space["net"]["deep"][2].first, "text")
    assert fresh["net"]["array"] is new.space["net"]["array"]
    assert fresh["drawn"] == [config["drawn"][0], 5, new.space["drawn"][2]]
    for key in ("x", "computed", 3, "lr"):
        assert fresh[key] == config[key]
    assert list(fresh) == list(config)
    assert not [*missing_objects(fresh)]


@pytest.mark.parametrize("point", range(4))
def test_a_category_is_told_by_the_objects_in_it(point: int) -> None:
    def make() -> dict[str, Any]:
        return {
            "a": tune.grid_search(
                [1, Ref(), {"ref": Ref(), "x": tune.uniform(0, 1)}, {"ref": Ref(), "y": 1}]
            ),
            "b": [tune.choice([Ref(), tune.choice([Ref(), "plain", Ref()])])],
        }

    old, new = spaces(make)
    seen = set()
    for seed in range(20):
        config = old.resolve(point, rng=np.random.default_rng(seed))
        chosen = old.chosen_objects(config)
        assert chosen["/a"] == point
        fresh = new.refreshed(gone(config), pickle.loads(pickle.dumps(chosen)))
        again = new.resolve(point, rng=np.random.default_rng(seed))
        assert fresh == again, "as it had been drawn from the new space"
        seen.add(tuple(chosen.values()))
    assert len(seen) >= 4


def test_plain_categories_are_not_noted() -> None:
    space = SearchSpace({"a": tune.choice([1, "b", None]), "ref": Ref(), "c": [tune.randn()]})
    assert space.chosen_objects(space.resolve(rng=np.random.default_rng(0))) == {}


def test_what_was_not_of_the_space_stays() -> None:
    space = SearchSpace({"a": tune.choice([Ref(), Ref()]), "b": [Ref()], "c": {"d": Ref()}})
    config = {"a": Ref(), "b": [], "c": 1}
    assert space.chosen_objects(config) == {}
    assert space.refreshed(config, {"/a": 7}) == config


@pytest.mark.parametrize(
    ("given", "known", "words"),
    [
        ({"a": 1}, {"a": 1.0}, None),
        ({}, {}, None),
        ({"a": np.int64(3)}, {"a": 3}, None),
        ({"a": Level.LOW}, {"a": Level.HIGH}, None),
        ({"a": float("nan"), "b": []}, {"a": float("nan"), "b": []}, None),
        ({"a": Ref(), "b": {"c": tune.randn()}}, {"a": {1, 2}, "b": {"c": tune.randn()}}, None),
        ({"a": 1}, {"a": 2}, "has the constant 1 at 'a', where the run had the constant 2"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "has the constant 2 at 'a/1', where the run had the co"),
        ({"a": Ref()}, {"a": "x"}, "has an object at 'a', where the run had the constant 'x'"),
        ({"a": 1}, {"a": tune.randn()}, "has the constant 1 at 'a', where the run had the domain"),
        ({"a": tune.choice([1])}, {"a": tune.choice([2])}, "has the domain 'choice([1])'"),
        ({"a": tune.choice([Ref()])}, {"a": tune.choice([Ref()])}, None),
        ({"a": {"b": 1}}, {"a": {}}, "lacks the key 'a', which the run had"),
        ({"a": 1, "b": 1}, {"a": 1}, "has the key 'b', which the run had not"),
    ],
)
def test_the_same_search_space_is_known_without_its_objects(
    given: dict[str, Any], known: dict[str, Any], words: str | None
) -> None:
    told = difference(outline(given), pickle.loads(pickle.dumps(outline(known))))
    assert told == words if words is None else str(told).startswith(words)


def test_what_could_not_be_loaded_is_found() -> None:
    config = {"a": [1, {"b": StandIn("Ref()")}], "c": "text", "d": (StandIn("x"),)}
    assert [*missing_objects(config)] == ["a/1/b", "d/0"]
