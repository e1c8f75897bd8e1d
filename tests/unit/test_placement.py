"""Resources in every form that a user may give."""

from __future__ import annotations

from typing import Any

import pytest
import ray.tune
from ray.train import ScalingConfig

from tuner.errors import ConfigError
from tuner.placement import PlacementGroupFactory, as_placement
from tuner.trainable.wrappers import resources_for, resources_vary, with_resources

SCALINGS: list[dict[str, Any]] = [
    {"num_workers": 2},
    {"num_workers": 3, "use_gpu": True},
    {"num_workers": 2, "resources_per_worker": {"CPU": 2, "x": 0.5}},
    {"num_workers": 2, "resources_per_worker": {"CPU": 2}, "use_gpu": True},
    {"resources_per_worker": {"CPU": 4, "GPU": 0.5}, "use_gpu": True},
    {"num_workers": 4, "placement_strategy": "STRICT_SPREAD"},
]


def train(config: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("fields", SCALINGS, ids=str)
def test_a_scaling_config_and_its_fields_mean_what_ray_means(fields: dict[str, Any]) -> None:
    given = ScalingConfig(**fields)
    of_ray = given.as_placement_group_factory()
    ours = as_placement(fields)
    assert ours.bundles == [{}, *of_ray.bundles]
    assert ours.strategy == of_ray.strategy
    assert as_placement(given) == as_placement(of_ray) == ours


def test_the_coordinator_shares_the_bundle_of_the_first_worker() -> None:
    fields = {"num_workers": 2, "trainer_resources": {"cpu": 1, "y": 2}}
    assert as_placement(fields).bundles == [{}, {"CPU": 2, "y": 2}, {"CPU": 1}]


def test_placement_groups_of_ray_are_taken() -> None:
    of_ray = ray.tune.PlacementGroupFactory([{"CPU": 1}, {"GPU": 1}], strategy="SPREAD")
    ours = PlacementGroupFactory([{"CPU": 1}, {"GPU": 1}], strategy="SPREAD")
    assert as_placement(of_ray) == ours
    trainable = with_resources(train, of_ray)
    assert resources_for(trainable, {}) == ours
    assert not resources_vary(trainable)


def test_a_function_may_give_any_of_them() -> None:
    trainable = with_resources(train, lambda config: {"num_workers": config["n"]})
    assert resources_for(trainable, {"n": 2}).bundles == [{}, {"CPU": 1}, {"CPU": 1}]
    assert resources_vary(trainable)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"num_workers": 2, "cpu": 1}, r"'cpu' is no field of a scaling configuration"),
        ({"num_workers": 2, "resource_per_worker": {}}, "did you mean 'resources_per_worker'"),
        ({"num_workers": 1.5}, r"num_workers=1\.5 must be an integer"),
        ({"num_workers": -1}, "num_workers=-1 must be"),
        ({"num_workers": (1, 4)}, r"num_workers=\(1, 4\).*give one number"),
        (ScalingConfig(num_workers=(1, 4)), r"num_workers=\(1, 4\).*give one number"),
        ({"resources_per_worker": {"gpu": 1}}, "has GPUs; add 'use_gpu': True"),
        ({"resources_per_worker": {"CPU": -1}}, "CPU=-1 must be finite and not negative"),
        ({"resources_per_worker": 2}, "bundle 2 must be a dictionary"),
        ({"num_workers": 1, "placement_strategy": "NEAR"}, "strategy='NEAR' must be one of"),
        (ray.train.RunConfig(), "a PlacementGroupFactory or a ScalingConfig"),
    ],
    ids=lambda value: str(value).partition("(name=")[0],
)
def test_what_cannot_work_is_named(resources: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_resources(train, resources)
