"""Resources as the older APIs state them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import tuner as tune
from tuner.errors import ConfigError
from tuner.legacy.resources import Resources, placement


@pytest.mark.parametrize(
    ("given", "bundles"),
    [
        ({"cpu": 2, "gpu": 1}, [{"CPU": 2.0, "GPU": 1.0}]),
        ({"cpu": 1, "gpu": 1, "extra_gpu": 4}, [{"CPU": 1.0, "GPU": 1.0}, {"GPU": 4.0}]),
        ({"extra_cpu": 3}, [{"CPU": 1.0}, {"CPU": 3.0}]),
        ({"cpu": 1, "extra_cpu": 0}, [{"CPU": 1.0}]),
        ({"CPU": 4}, [{"CPU": 4.0}]),
        ({"custom_resources": {"licence": 2}}, [{"CPU": 1.0, "licence": 2.0}]),
        ({"cpu": 0, "extra_custom_resources": {"x": 1}}, [{}, {"x": 1.0}]),
        (Resources(cpu=1, extra_cpu=2), [{"CPU": 1.0}, {"CPU": 2.0}]),
        (tune.PlacementGroupFactory([{"CPU": 3}]), [{"CPU": 3.0}]),
        ({"num_workers": 1, "resources_per_worker": {"CPU": 2}}, [{}, {"CPU": 2.0}]),
    ],
)
def test_a_placement(given: Any, bundles: list[dict[str, float]]) -> None:
    assert placement(given).bundles == bundles


@pytest.mark.parametrize("given", [{"cpu": -1}, {"extra_gpu": "4"}, 3])
def test_what_cannot_be_one(given: Any) -> None:
    with pytest.raises(ConfigError, match="resources"):
        placement(given)


def test_amounts() -> None:
    resources = Resources(cpu=1, gpu=0.5, extra_cpu=2, custom_resources={"x": 1})
    assert (resources.cpu, resources.gpu) == (1.0, 0.5)
    assert (resources.extra_cpu, resources.extra_gpu) == (2.0, 0.0)
    assert (resources.cpu_total(), resources.gpu_total()) == (3.0, 0.5)
    assert resources.bundles[0]["x"] == 1.0
    assert pickle.loads(pickle.dumps(resources)) == resources


def test_amounts_of_a_placement() -> None:
    resources = Resources.of(tune.PlacementGroupFactory([{"CPU": 1, "GPU": 1}]))
    assert (resources.cpu, resources.gpu, resources.extra_gpu) == (1.0, 1.0, 0.0)
