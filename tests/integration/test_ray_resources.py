"""Resources of a Ray cluster: nothing is given twice, and who asks for too much is told."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from fit_helpers import append, fit, wait_until
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from ray_clusters import RayCluster, RayNode, raylet_here
from ray_helpers import PATIENCE_S, fit_meanwhile, wait_for

import tuner as tune
from tuner.execution import patience


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def large(cluster: RayCluster) -> RayNode:
    return cluster.add_node(num_cpus=2, num_gpus=2)


@pytest.fixture(scope="module", autouse=True)
def small(cluster: RayCluster, large: RayNode) -> RayNode:
    return cluster.add_node(num_cpus=1, resources={"license": 1, "accelerator_type:T4": 1})


@pytest.fixture
def early_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_WARN_OF_OTHERS_AFTER_S", 1.0)


def hold(config: dict[str, Any]) -> dict[str, Any]:
    """Notes who runs at the same time, once as many as there should be have begun."""
    folder, mine = (
        Path(config["folder"]),
        f"{raylet_here()}:{os.environ.get('CUDA_VISIBLE_DEVICES')}",
    )
    holding = Path(f"{folder}/{mine}:{os.getpid()}")
    holding.touch()
    append(f"{folder}.begun", f"{mine}\n")
    wait_until(
        lambda: len(Path(f"{folder}.begun").read_text().splitlines()) >= config["most"], PATIENCE_S
    )
    at_once = [path.name for path in folder.iterdir()]
    holding.unlink()
    gpus = ray.get_gpu_ids() if config.get("in_actor") else None
    return {"at_once": at_once, "raylet": raylet_here(), "gpus": gpus, "mine": mine}


def hold_all(folder: Path, request: dict[str, float], most: int, **more: Any) -> tune.ResultGrid:
    """Twice as many trials as fit at once, each with such a request."""
    (folder / "holding").mkdir()
    return fit(
        tune.with_resources(hold, request),
        folder,
        space={"folder": str(folder / "holding"), "most": most, **more},
        num_samples=2 * most,
        run={"executor": tune.RayExecutor(uses_ray="in_actor" in more)},
    )


def test_a_cpu_is_one_trials_at_a_time(large: RayNode, small: RayNode, tmp_path: Path) -> None:
    grid = hold_all(tmp_path, {"cpu": 1}, most=3)
    for result in grid:
        at_once = Counter(int(name.partition(":")[0]) for name in result.metrics["at_once"])
        assert at_once[large.raylet] <= 2
        assert at_once[small.raylet] <= 1
    assert {result.metrics["raylet"] for result in grid} == {large.raylet, small.raylet}


def test_a_custom_resource_is_used_where_it_is(small: RayNode, tmp_path: Path) -> None:
    grid = hold_all(tmp_path, {"license": 1}, most=1)
    assert [result.metrics["raylet"] for result in grid] == [small.raylet] * 2
    assert [len(result.metrics["at_once"]) for result in grid] == [1, 1]


@pytest.mark.parametrize("in_actor", [False, True])
def test_two_trials_share_a_gpu(in_actor: bool, large: RayNode, tmp_path: Path) -> None:
    more = {"in_actor": True} if in_actor else {}
    grid = hold_all(tmp_path, {"cpu": 0.1, "gpu": 0.5}, most=4, **more)
    for result in grid:
        at_once = Counter(name.rpartition(":")[0] for name in result.metrics["at_once"])
        assert max(at_once.values()) <= 2
        raylet, _, gpu = result.metrics["mine"].partition(":")
        assert int(raylet) == large.raylet
        assert result.metrics["gpus"] == ([int(gpu)] if in_actor else None)
    gpus = Counter(result.metrics["mine"] for result in grid)
    assert gpus.keys() == {f"{large.raylet}:0", f"{large.raylet}:1"}


def train_with_a_helper(config: dict[str, Any]) -> dict[str, Any]:
    """Starts an actor in the second bundle of the trial's resources."""

    @ray.remote(num_cpus=1)
    class Helper:
        def where(self) -> str:
            return os.environ["RAY_RAYLET_PID"]

    group = ray.util.get_current_placement_group()
    second = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=1)
    helper = Helper.options(scheduling_strategy=second).remote()
    return {"own": raylet_here(), "helper": int(ray.get(helper.where.remote()))}


@pytest.mark.parametrize("strategy", ["STRICT_SPREAD", "STRICT_PACK"])
def test_actors_of_a_trial_run_in_its_bundles(
    strategy: str, large: RayNode, small: RayNode, tmp_path: Path
) -> None:
    request = tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}], strategy=strategy)
    grid = fit(tune.with_resources(train_with_a_helper, request), tmp_path, num_samples=2)
    expected = {large.raylet, small.raylet} if strategy == "STRICT_SPREAD" else {large.raylet}
    for result in grid:
        assert result.error is None
        assert {result.metrics["own"], result.metrics["helper"]} == expected


def cpus_in_config(config: dict[str, Any]) -> dict[str, float]:
    return {"cpu": config["cpus"]}


def wait_if_told(config: dict[str, Any]) -> dict[str, Any]:
    if config["gate"] is not None:
        wait_for(Path(config["gate"]))
    return {"raylet": raylet_here()}


def test_who_asks_for_more_than_any_node_has_fails_and_the_others_go_on(
    early_warnings: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grid = fit(
        tune.with_resources(wait_if_told, cpus_in_config),
        tmp_path,
        space={"cpus": tune.grid_search([3, 1, 2, 1]), "gate": None},
        run={"executor": tune.RayExecutor(infeasible_timeout_s=3)},
    )
    assert [result.status for result in grid] == ["ERROR"] + ["TERMINATED"] * 3
    said = "a trial asks for {CPU: 3}, more than the nodes have"
    assert f"{said} ({{CPU: 1, license: 1}}, {{CPU: 2, GPU: 2}}" in caplog.text
    assert "it waits 3 s at most for more nodes" in caplog.text
    assert f"ResourceError: {said}" in str(grid[0].error)


def test_only_the_trial_fails_that_asks_for_what_ray_never_gives(tmp_path: Path) -> None:
    requests: list[dict[str, float]] = [
        {"gpu": 1.5},
        {"cpu": 1e-5},
        {"object_store_memory": 100.0},
        {"bundle": 1},
        {"TPU": 1.5},
        {"cpu": 0.5, "gpu": 0.5},
    ]
    grid = fit(
        tune.with_resources(wait_if_told, lambda config: config["request"]),
        tmp_path,
        space={"request": tune.grid_search(requests), "gate": None},
    )
    assert [result.status for result in grid] == ["ERROR"] * 5 + ["TERMINATED"]
    said = [str(result.error) for result in grid][:5]
    assert "ResourceError: the trial asks for GPU=1.5: Ray gives a part of one" in said[0]
    assert "CPU=1e-05: Ray counts in steps of 0.0001; ask for 0.0001 or more" in said[1]
    assert "object_store_memory=100: Ray reserves none of it" in said[2]
    assert "bundle=1: Ray uses such a name itself" in said[3]
    assert "TPU=1.5: Ray refuses this (" in said[4]


def test_bundles_that_no_nodes_have_together_are_not_waited_for_without_end(
    tmp_path: Path,
) -> None:
    (result,) = fit(
        tune.with_resources(wait_if_told, tune.PlacementGroupFactory([{"CPU": 1}] * 9)),
        tmp_path,
        space={"gate": None},
        run={"executor": tune.RayExecutor(infeasible_timeout_s=1)},
    )
    assert "more than the nodes have" in str(result.error)


@pytest.mark.parametrize("name", ["memory", "node:__internal_head__", "accelerator_type:T4"])
def test_what_is_not_shown_of_nodes_can_be_asked_for(name: str, tmp_path: Path) -> None:
    grid = fit(
        tune.with_resources(wait_if_told, {"cpu": 0, name: 0.01 if ":" in name else 1e6}),
        tmp_path,
        num_samples=2,
        space={"gate": None},
        run={"executor": tune.RayExecutor(infeasible_timeout_s=0)},
    )
    assert [result.error for result in grid] == [None, None]


class Noting(tune.ProgressReporter):
    """Notes what it is told of the whole."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return True

    def report(self, trials: list[Any], done: bool, *sys_info: str) -> None:
        self.told += sys_info


def test_who_asks_for_more_than_any_node_has_starts_when_one_comes(
    early_warnings: None, cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = Noting()
    running = fit_meanwhile(
        tune.with_resources(wait_if_told, cpus_in_config),
        tmp_path,
        space={"cpus": 3, "gate": None},
        run={
            "executor": tune.RayExecutor(infeasible_timeout_s=PATIENCE_S),
            "progress_reporter": reporter,
            "verbose": 1,
        },
    )
    wait_until(lambda: "at most for more nodes" in caplog.text, PATIENCE_S)
    expected = "Resources requested: 0/3 CPUs, 0/2 GPUs, 0/1 license (1 wait to begin)"
    wait_until(lambda: expected in reporter.told, PATIENCE_S)
    coming = cluster.add_node(num_cpus=3)
    (result,) = running.result(PATIENCE_S)
    coming.remove()
    assert result.metrics["raylet"] == coming.raylet


def test_trials_wait_for_what_others_use(
    early_warnings: None, cluster: RayCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    others = ray.util.placement_group([{"CPU": 2}, {"CPU": 1}])
    assert others.wait(PATIENCE_S)
    running = fit_meanwhile(wait_if_told, tmp_path, space={"gate": None}, num_samples=2)
    wait_until(lambda: "waits for {CPU: 1}, which others use" in caplog.text, PATIENCE_S)
    assert not running.done()
    ray.util.remove_placement_group(others)
    grid = running.result(PATIENCE_S)
    assert [result.status for result in grid] == ["TERMINATED"] * 2


def test_what_no_trial_wants_any_more_is_given_back(cluster: RayCluster, tmp_path: Path) -> None:
    gate, early = tmp_path / "gate", tmp_path / "early"
    running = fit_meanwhile(
        wait_if_told,
        tmp_path,
        space={"gate": tune.grid_search([str(gate), str(early), str(early)])},
        run={"executor": tune.RayExecutor(idle_timeout_s=0.5)},
    )
    wait_until(lambda: len(cluster.placements()) > 1, PATIENCE_S)
    early.touch()
    wait_until(lambda: len(cluster.placements()) == 1, PATIENCE_S)
    assert not running.done()
    gate.touch()
    assert [result.status for result in running.result(PATIENCE_S)] == ["TERMINATED"] * 3
