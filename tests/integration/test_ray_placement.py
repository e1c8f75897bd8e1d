"""Where trials run on Ray that ask for several bundles, for an empty one, or for nothing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from fit_helpers import fit
from ray.util import get_current_placement_group, placement_group_table

import tuner as tune
from tuner.placement import as_placement


@pytest.fixture(scope="module", autouse=True)
def two_cpus() -> Iterator[None]:
    ray.init("local", num_cpus=2, resources={"x": 1}, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_actors_of_a_trial_run_in_its_placement_group(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> dict[str, Any]:
        @ray.remote(num_cpus=1)
        class Helper:
            def look(self) -> tuple[str, int]:
                return get_current_placement_group().id.hex(), os.getpid()

        group = get_current_placement_group()
        helpers = [Helper.remote() for _ in range(2)]
        seen = ray.get([helper.look.remote() for helper in helpers])
        return {
            "mine": group.id.hex(),
            "theirs": [each[0] for each in seen],
            "num_processes": len({os.getpid(), *(each[1] for each in seen)}),
            "bundles": [each["CPU"] for each in group.bundle_specs],
            "strategy": placement_group_table(group)["strategy"],
        }

    asked = tune.PlacementGroupFactory([{}, {"CPU": 1}, {"CPU": 1}], strategy="STRICT_PACK")
    (result,) = fit(tune.with_resources(train, asked), tmp_path)
    assert result.error is None
    metrics = result.metrics
    assert metrics["theirs"] == [metrics["mine"]] * 2
    assert metrics["num_processes"] == 3
    assert metrics["bundles"] == [1, 1]
    assert metrics["strategy"] == "STRICT_PACK"


def test_a_trial_that_is_not_known_to_call_ray_is_told_how(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> dict[str, Any]:
        hidden = importlib.import_module("r" + "ay")
        return {"x": hidden.get(hidden.put(1))}

    (result,) = fit(train, tmp_path)
    assert "RayExecutor(uses_ray=True)" in str(result.error)
    (result,) = fit(train, tmp_path, run={"executor": tune.RayExecutor(uses_ray=True)})
    assert result.metrics["x"] == 1


@pytest.mark.parametrize("executor", ["local", "ray"])
@pytest.mark.parametrize(
    "resources",
    [
        tune.PlacementGroupFactory([{}, {"CPU": 1}]),
        tune.PlacementGroupFactory([{}, {"CPU": 1}], strategy="SPREAD"),
        {"cpu": 0},
        {"cpu": 0, "x": 0.5},
    ],
    ids=["empty head", "spread", "nothing", "no CPU"],
)
def test_a_trial_that_takes_no_cpu_itself(tmp_path: Path, resources: Any, executor: Any) -> None:
    def train(config: dict[str, Any]) -> dict[str, Any]:
        given = tune.get_context().get_trial_resources()
        assert given is not None
        return {"cpus": given.head_cpus, "given": repr(given)}

    if executor == "local":
        executor = tune.LocalExecutor(num_cpus=2, resources={"x": 1})
    run = {"executor": executor}
    grid = fit(tune.with_resources(train, resources), tmp_path, num_samples=2, run=run)
    assert [result.error for result in grid] == [None, None]
    assert [result.metrics["cpus"] for result in grid] == [0, 0]
    assert [result.metrics["given"] for result in grid] == [repr(as_placement(resources))] * 2
