"""Nodes of a Ray cluster that come, go and freeze while trials run there."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fit_helpers import wait_until
from ray_clusters import RayCluster, RayNode
from ray_helpers import (
    PATIENCE_S,
    assert_complete,
    attempts,
    fit_meanwhile,
    journal,
    num_halfway,
    saved_steps,
    wait_until_gone,
)

import tuner as tune

STEPS = 6


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def staying(cluster: RayCluster) -> RayNode:
    """A node of one CPU that no test kills."""
    return cluster.add_node()


@pytest.mark.parametrize(("how", "uses_ray"), [("kill", False), ("kill", True), ("freeze", False)])
def test_a_node_that_comes_is_used_and_when_it_is_lost_its_trial_goes_on_elsewhere(
    how: str, uses_ray: bool, cluster: RayCluster, staying: RayNode, tmp_path: Path
) -> None:
    """That is no failure of the trial: no retries are allowed here."""
    gate = tmp_path / "gate"
    running = fit_meanwhile(
        saved_steps,
        tmp_path,
        space={"gate": str(gate), "steps": STEPS},
        num_samples=2,
        run={"executor": tune.RayExecutor(uses_ray=uses_ray)},
    )
    wait_until(lambda: num_halfway(gate) == 1, PATIENCE_S)
    coming = cluster.add_node()
    wait_until(lambda: num_halfway(gate) == 2, PATIENCE_S)
    (stays, _, first, _), (lost, pid, second, _) = attempts(gate)
    assert (first, second) == (staying.raylet, coming.raylet)

    coming.kill() if how == "kill" else coming.signal(signal.SIGSTOP)
    gate.touch()
    grid = running.result(PATIENCE_S)
    if how == "freeze":  # what comes to life again ends by itself, and spoils nothing
        coming.signal(signal.SIGCONT)
        wait_until_gone(pid)
        coming.remove()
    for result in grid:
        assert_complete(result, STEPS)
    assert [(trial, raylet, start) for trial, _, raylet, start in attempts(gate)] == [
        (stays, staying.raylet, 0),
        (lost, coming.raylet, 0),
        (lost, staying.raylet, 3),
    ]
    reported = [line["result"]["i"] for line in journal(grid) if line["event"] == "result"]
    assert sorted(reported) == sorted([*range(STEPS)] * 2 + [3])
