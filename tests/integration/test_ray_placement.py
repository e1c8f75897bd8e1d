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
from tuner.errors import ResourceError
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


def start_a_helper(config: dict[str, Any]) -> dict[str, Any]:
    """Starts what needs no bundle of the trial, then what needs one."""

    @ray.remote(num_cpus=1)
    class Helper:
        def look(self) -> int:
            return 1

    @ray.remote
    def look() -> int:
        return 1

    elsewhere = look.options(num_cpus=0, resources={"x": 0.5}, scheduling_strategy="DEFAULT")
    free = [look.options(num_cpus=0), elsewhere]
    tune.report({"free": ray.get([each.remote() for each in free], timeout=120)})
    helped = look.remote() if config["is_task"] else Helper.remote().look.remote()
    return {"free": None, "helped": ray.get(helped, timeout=120)}


def test_what_a_trial_has_no_bundle_for_is_an_error_that_says_what_to_add(tmp_path: Path) -> None:
    space = {"is_task": tune.grid_search([True, False])}
    grid = fit(start_a_helper, tmp_path, space=space, reuse_actors=True)
    fix = 'tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}])'
    for result, name in zip(grid, ["look", "Helper"], strict=True):
        assert result.metrics["free"] == [1, 1]
        assert isinstance(result.error, ResourceError)
        assert f'{name} asks for {{"CPU": 1}}, and would wait' in str(result.error)
        assert fix in str(result.error)
    added = eval(fix, {"tune": tune})
    grid = fit(tune.with_resources(start_a_helper, added), tmp_path, space=space, reuse_actors=True)
    assert [result.metrics["helped"] for result in grid] == [1, 1]


def test_looking_for_room_can_be_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_RESOURCE_CHECKS", "1")

    def train(config: dict[str, Any]) -> dict[str, Any]:
        waiting = [ray.remote(lambda: 1).remote()]
        return {"placed": len(ray.wait(waiting, timeout=0)[0])}

    (result,) = fit(train, tmp_path)
    assert result.metrics["placed"] == 0


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
