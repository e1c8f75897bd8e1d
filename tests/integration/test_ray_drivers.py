"""Drivers of experiments on a Ray cluster that are killed or interrupted: nothing is left there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fit_helpers import start_script, wait_until
from ray_clusters import RayCluster
from ray_helpers import PATIENCE_S, assert_complete, attempts, num_halfway, wait_until_gone

import tuner as tune

STEPS = 6
SCRIPT = f"""
import os
from ray_helpers import saved_steps
import tuner as tune

folder = os.getcwd()
if tune.Tuner.can_restore(folder + "/run"):
    tune.Tuner.restore(folder + "/run").fit()
else:
    gates = tune.grid_search([folder + "/" + name for name in "abc"])
    tune.Tuner(
        saved_steps,
        param_space=dict(gate=gates, steps={STEPS}),
        run_config=tune.RunConfig(name="run"),
    ).fit()
"""
WITH_A_CLUSTER = f"""
import os
import signal
import time
import ray
from fit_helpers import append
from ray_helpers import saved_steps
import tuner as tune

def blocked(config):
    @ray.remote(num_cpus=0)
    def endless():
        time.sleep(3600)

    tune.report(dict(i=0))
    append(config["gate"] + ".halfway", "blocked\\n")
    ray.get(endless.remote())

def stubborn(config):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tune.report(dict(i=0))
    append(config["gate"] + ".halfway", "stubborn\\n")
    time.sleep(3600)

ray.init("local", num_cpus=1, include_dashboard=False)
tune.Tuner(
    dict(saved_steps=saved_steps, blocked=blocked, stubborn=stubborn)[os.environ["TRIAL"]],
    param_space=dict(gate=os.getcwd() + "/gate", steps={STEPS}),
    run_config=tune.RunConfig(name="run"),
).fit()
print("after fit", flush=True)
"""
_TESTS = [Path(__file__).parent, Path(__file__).parent.parent]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(num_cpus=1) as cluster:
        yield cluster


@contextlib.contextmanager
def driver(cluster: RayCluster, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A script that begins the experiment, or goes on with it; it is found to be on Ray."""
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), *map(str, _TESTS)])
    process = start_script(
        SCRIPT,
        folder,
        "driver",
        RAY_ADDRESS=cluster.address,
        PYTHONPATH=path,
        TUNER_STOP_GRACE_S="1",
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        print(process.communicate()[0])


def is_stopping(folder: Path) -> bool:
    journals = (folder / "run" / "journal").glob("*.jsonl")
    return any("experiment_stopping" in path.read_text() for path in journals)


@pytest.mark.parametrize(
    ("signum", "times"),
    [(signal.SIGKILL, 1), (signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGINT, 2)],
)
def test_nothing_is_left_and_a_restore_goes_on(
    signum: signal.Signals, times: int, cluster: RayCluster, tmp_path: Path
) -> None:
    done, halfway, later = (tmp_path / name for name in "abc")
    done.touch()
    with driver(cluster, tmp_path) as process:
        wait_until(lambda: num_halfway(halfway) == 1, PATIENCE_S)
        os.killpg(process.pid, signum)
        if times == 2:
            wait_until(lambda: is_stopping(tmp_path))
            os.killpg(process.pid, signum)
        printed, _ = process.communicate(timeout=PATIENCE_S)
    ((_, pid, _, _),) = attempts(halfway)
    wait_until_gone(pid)
    wait_until(lambda: not cluster.actors_alive(), PATIENCE_S)
    wait_until(lambda: not cluster.placements(), PATIENCE_S)
    wait_until(lambda: not slot_processes(cluster), PATIENCE_S)
    if signum != signal.SIGKILL and times == 1:
        assert process.returncode == 0, printed
        assert f'Tuner.restore("{tmp_path}/run").fit() goes on from here' in printed
    halfway.touch()
    later.touch()
    with driver(cluster, tmp_path) as process:
        printed, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, printed
    for result in tune.Tuner.restore(str(tmp_path / "run")).get_results():
        assert_complete(result, STEPS)
    starts = [[start for _, _, _, start in attempts(gate)] for gate in (done, halfway, later)]
    assert starts == [[0], [0, 3], [0]]


@pytest.mark.parametrize(
    ("trial", "reported"), [("saved_steps", 4), ("blocked", 1), ("stubborn", 1)]
)
def test_a_signal_that_ends_the_cluster_of_the_script_as_well(
    trial: str, reported: int, tmp_path: Path
) -> None:
    """As `timeout` sends it, or a service manager: to all processes of a group.

    Ray would end the script a minute later, with the exit code 1.
    """
    gate = tmp_path / "gate"
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), *map(str, _TESTS)])
    process = start_script(
        WITH_A_CLUSTER, tmp_path, "cluster", PYTHONPATH=path, TRIAL=trial, TUNER_STOP_GRACE_S="1"
    )
    try:
        wait_until(lambda: num_halfway(gate) == 1, PATIENCE_S)
        os.killpg(process.pid, signal.SIGTERM)
        printed, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == 0, printed
    said = f'Tuner.restore("{tmp_path}/run").fit() goes on from here\nafter fit\n'
    assert said in printed
    (result,) = tune.Tuner.restore(str(tmp_path / "run")).get_results()
    assert result.status == "PAUSED"
    assert result.metrics["training_iteration"] == reported


def slot_processes(cluster: RayCluster) -> list[str]:
    """Actors of slots, fork servers and workers that live."""
    commands = []
    for process in cluster.head.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            commands.append(json.dumps(process.cmdline()))
    return [c for c in commands if "Slot" in c or "tuner.execution" in c]
