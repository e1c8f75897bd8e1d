"""Which trainables call Ray themselves."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import ray
import sklearn.linear_model
import torch

import tuner as tune
from tuner.execution.uses_ray import uses_ray


def imports_inside(config: dict[str, Any]) -> None:
    import ray

    ray.get(config["x"])


def imports_a_part_inside(config: dict[str, Any]) -> None:
    from ray.util import placement_group

    placement_group([{"CPU": 1}])


def refers_to_a_global(config: dict[str, Any]) -> None:
    ray.get(config["x"])


def only_in_a_nested_function(config: dict[str, Any]) -> None:
    def inner() -> Any:
        return ray.get(config["x"])

    tune.report({"x": inner()})


def in_a_comprehension(config: dict[str, Any]) -> None:
    tune.report({"x": [ray.get(x) for x in config["xs"]]})


def calls_a_helper(config: dict[str, Any]) -> None:
    only_in_a_nested_function(config)


def calls_a_helper_of_a_helper(config: dict[str, Any]) -> None:
    calls_a_helper(config)


def has_attributes_of_such_names(config: dict[str, Any]) -> None:
    tune.report({"x": config["light"].ray, "y": config["light"].calls_a_helper})


def has_a_default(config: dict[str, Any], get: Callable[..., Any] = ray.get) -> None:
    get(config["x"])


def has_a_keyword_default(config: dict[str, Any], *, get: Callable[..., Any] = ray.get) -> None:
    get(config["x"])


def trains(config: dict[str, Any], data: Any = None, more: Any = None) -> dict[str, Any]:
    weights = np.zeros(3) + torch.ones(3).numpy()
    model = sklearn.linear_model.LinearRegression()
    return {"x": float(weights.sum()), "name": type(model).__name__, "at": tune.get_context()}


def has_array(x: str) -> str:
    """Says ray only in its text, and has arrays."""
    array = np.array([x])
    return f"ray of {array}"


class Steps(tune.Trainable):
    def setup(self, config: dict[str, Any], data: Any = None) -> None:
        self.data = data

    def step(self) -> dict[str, Any]:
        return {"x": float(np.sum([1, 2]))}


class GetsInStep(Steps):
    def step(self) -> dict[str, Any]:
        return {"x": ray.get(self.config["x"])}


class GetsInAStaticMethod(tune.Trainable):
    def step(self) -> dict[str, Any]:
        return {"x": self.get()}

    @staticmethod
    def get() -> Any:
        return ray.get(None)


class GetsInAProperty(tune.Trainable):
    @property
    def value(self) -> Any:
        return ray.get(self.config["x"])

    def step(self) -> dict[str, Any]:
        return {"x": self.value}


class Inherits(GetsInStep):
    pass


class SaysSo(Steps):
    uses_ray = True


class Holder:
    """An object with a method that is the trainable."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def train(self, config: dict[str, Any]) -> dict[str, Any]:
        return {"x": self.value}


class Getter(Holder):
    def train_with_ray(self, config: dict[str, Any]) -> dict[str, Any]:
        return {"x": ray.get(self.value)}

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        return self.train_with_ray(config)


@ray.remote
def double(x: float) -> float:
    return 2 * x


def calls_a_remote_function(config: dict[str, Any]) -> None:
    double.remote(config["x"])


def closure_over(value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda config: {"x": value}


@pytest.mark.parametrize(
    "trainable",
    [
        imports_inside,
        imports_a_part_inside,
        refers_to_a_global,
        only_in_a_nested_function,
        in_a_comprehension,
        calls_a_helper,
        calls_a_helper_of_a_helper,
        has_a_default,
        has_a_keyword_default,
        calls_a_remote_function,
        closure_over(ray),
        closure_over(refers_to_a_global),
        functools.partial(refers_to_a_global),
        functools.partial(trains, more=refers_to_a_global),
        tune.with_parameters(has_a_default, get=np.zeros(3)),
        tune.with_resources(refers_to_a_global, {"cpu": 1}),
        Getter().train_with_ray,
        Getter().train,
        Getter(),
        GetsInStep,
        GetsInAStaticMethod,
        GetsInAProperty,
        Inherits,
        SaysSo,
        tune.with_parameters(GetsInStep, data=1),
    ],
    ids=lambda value: getattr(value, "__qualname__", type(value).__name__),
)
def test_those_that_do(trainable: Any) -> None:
    assert uses_ray(trainable)


@pytest.mark.parametrize(
    "trainable",
    [
        trains,
        has_array,
        has_attributes_of_such_names,
        lambda config: {"x": config["x"]},
        functools.partial(trains, more=1),
        tune.with_parameters(trains, data=np.zeros(1000), more=[1.0] * 100_000),
        tune.with_resources(trains, {"cpu": 1}),
        closure_over(np.zeros(3)),
        closure_over(torch.nn.Linear(2, 2)),
        Holder().train,
        Steps,
        tune.with_parameters(Steps, data=1),
    ],
    ids=lambda value: getattr(value, "__qualname__", type(value).__name__),
)
def test_those_that_do_not(trainable: Any) -> None:
    assert not uses_ray(trainable)


def test_a_library_of_which_some_part_uses_ray_is_no_reason() -> None:
    """As modin or xgboost are; what is installed is not looked into."""
    assert not uses_ray(closure_over(sklearn.linear_model.LinearRegression().fit))


def test_a_base_class_of_ray_is_one() -> None:
    base = type("Algorithm", (), {"__module__": "ray.rllib.algorithms.algorithm"})
    assert uses_ray(type("PPO", (base,), {}))


@pytest.fixture
def script_module() -> Iterator[types.ModuleType]:
    """A module of the user that is not a library, and imports Ray."""
    module = types.ModuleType("users_helpers")
    module.__file__ = "/home/ada/users_helpers.py"
    exec("import ray\ndef fetch(x):\n    return ray.get(x)", module.__dict__)
    sys.modules["users_helpers"] = module
    yield module
    del sys.modules["users_helpers"]


def test_a_helper_in_another_module_of_the_user(script_module: types.ModuleType) -> None:
    fetch = script_module.fetch
    assert uses_ray(lambda config: {"x": fetch(config["x"])})


def test_a_helper_reached_through_its_module(script_module: types.ModuleType) -> None:
    assert uses_ray(lambda config: {"x": script_module.fetch(config["x"])})


def test_a_helper_reached_through_its_package(
    script_module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = types.ModuleType("users_package")
    package.sub, package.itself = script_module, package  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "users_package", package)
    assert uses_ray(lambda config: {"x": package.sub.fetch(config["x"])})
    assert not uses_ray(lambda config: {"x": package.itself.sub.other(config["x"])})


def test_a_helper_that_is_imported_inside(script_module: types.ModuleType) -> None:
    def imports_a_module(config: dict[str, Any]) -> dict[str, Any]:
        import users_helpers

        return {"x": users_helpers.fetch(config["x"])}

    def imports_it_alone(config: dict[str, Any]) -> dict[str, Any]:
        from users_helpers import fetch

        return {"x": fetch(config["x"])}

    assert uses_ray(imports_a_module)
    assert uses_ray(imports_it_alone)


@pytest.mark.parametrize(
    "value",
    [
        refers_to_a_global,
        double,
        Getter(),
        tune.choice([trains, refers_to_a_global]),
        tune.grid_search([1, refers_to_a_global]),
        tune.sample_from(lambda: refers_to_a_global),
        tune.choice([{"deep": tune.choice([(1, refers_to_a_global)])}]),
        {"deep": [0.1, refers_to_a_global]},
    ],
)
def test_what_configurations_are_made_of(value: Any) -> None:
    assert uses_ray(trains, {"lr": tune.uniform(0, 1), "value": value})


def test_a_search_space_that_is_of_no_interest() -> None:
    space = {
        "lr": tune.loguniform(1e-4, 1e-1),
        "layers": tune.grid_search([[16, 16], [64]]),
        "width": tune.sample_from(lambda spec: 2 * spec.config.lr),
        "name": "ray",
        "function": tune.choice([trains, np.tanh, Holder()]),
        "data": {"array": np.zeros(1000), "rows": [[0.1] * 1000] * 1000},
    }
    assert not uses_ray(trains, space)


def test_references_to_objects_in_the_store(ray_cluster: None) -> None:
    reference = ray.put([1, 2])
    handle = ray.remote(Holder).options(num_cpus=0).remote()
    assert uses_ray(tune.with_parameters(trains, data=reference))
    assert uses_ray(tune.with_parameters(trains, data=[reference]))
    assert uses_ray(tune.with_parameters(trains, data={"parts": [(1, reference)]}))
    assert uses_ray(tune.with_parameters(Steps, data=reference))
    assert uses_ray(functools.partial(trains, data=reference))
    assert uses_ray(closure_over(reference))
    assert uses_ray(closure_over(handle))
    assert uses_ray(Holder(reference).train)
