"""The user guide of 0.8: Trial Parallelism, Resource Allocation, Advanced Resource Allocation."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import wait_until

import tuner as tune

pytestmark = pytest.mark.usefixtures("results")


def meeting(config: dict[str, Any]) -> None:
    """Waits until so many trials run as can at once, then says from when to when it ran."""
    begin = time.time()
    Path(config["folder"], str(tune.get_context().get_trial_id())).touch()
    wait_until(lambda: len(os.listdir(config["folder"])) >= config["at_once"])
    tune.track.log(
        begin=begin,
        end=time.time(),
        gpus=os.environ.get("CUDA_VISIBLE_DEVICES"),
        pid=os.getpid(),
    )


def most_at_once(analysis: tune.ExperimentAnalysis) -> int:
    """How many trials ran at the same time."""
    spans = [(result["begin"], result["end"]) for result in analysis.results.values()]
    return max(sum(begin <= moment <= end for begin, end in spans) for moment, _ in spans)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder in which trials meet."""
    path = tmp_path / "meeting"
    path.mkdir()
    return path


@pytest.mark.parametrize(("cpus", "at_once"), [(None, 4), (2, 2), (4, 1)])
def test_trial_parallelism_1_cpus(folder: Path, cpus: int | None, at_once: int) -> None:
    """0.8 · Trial Parallelism · block 1: of 4 CPUs, trials of 1, 2 and 4 run 4, 2 and 1 at once."""
    analysis = tune.run(
        meeting,
        num_samples=10,
        config={"folder": str(folder), "at_once": at_once},
        executor=tune.LocalExecutor(num_cpus=4),
        **({} if cpus is None else {"resources_per_trial": {"cpu": cpus}}),
    )
    assert len(analysis.results) == 10
    assert most_at_once(analysis) == at_once


def test_trial_parallelism_2_gpu(folder: Path) -> None:
    """0.8 · Trial Parallelism · block 2: 4 CPUs, but 1 GPU: one at a time, which sees the GPU."""
    analysis = tune.run(
        meeting,
        num_samples=10,
        resources_per_trial={"cpu": 2, "gpu": 1},
        config={"folder": str(folder), "at_once": 1},
        executor=tune.LocalExecutor(num_cpus=4, num_gpus=1),
    )
    assert len(analysis.results) == 10
    assert most_at_once(analysis) == 1
    assert {result["gpus"] for result in analysis.results.values()} == {"0"}


@pytest.fixture
def ray() -> Iterator[Any]:
    """Ray, which is shut down afterwards."""
    ray = pytest.importorskip("ray")
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_trial_parallelism_3_ray_init(ray: Any, folder: Path) -> None:
    """0.8 · Trial Parallelism · block 3: the CPUs that `ray.init` claims to have, and half as many
    trials at once; here 8 in place of 100."""
    ray.init("local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    analysis = tune.run(
        meeting,
        num_samples=8,
        resources_per_trial={"cpu": 2},
        config={"folder": str(folder), "at_once": 4},
    )
    assert len(analysis.results) == 8
    assert most_at_once(analysis) == 4


@pytest.mark.slow
def test_trial_parallelism_3_ray_cluster(ray: Any, folder: Path) -> None:
    """0.8 · Trial Parallelism · block 3: a cluster by its address; 4 trials, not 100."""
    from ray_clusters import RayCluster

    with RayCluster() as cluster:
        cluster.add_node(num_cpus=4, num_gpus=2)
        ray.shutdown()
        ray.init(address=cluster.address, log_to_driver=False)
        analysis = tune.run(
            meeting,
            num_samples=4,
            resources_per_trial={"cpu": 2, "gpu": 1},
            config={"folder": str(folder), "at_once": 2},
        )
        assert len(analysis.results) == 4
        assert most_at_once(analysis) == 2
        assert {result["gpus"] for result in analysis.results.values()} == {"0", "1"}


def test_resource_allocation_fractions(folder: Path) -> None:
    """0.8 · Resource Allocation (Using GPUs) · text: five trials share a GPU, others see none."""
    executor = tune.LocalExecutor(num_cpus=8, num_gpus=1)
    analysis = tune.run(
        meeting,
        num_samples=5,
        resources_per_trial={"cpu": 1, "gpu": 0.2},
        config={"folder": str(folder), "at_once": 5},
        executor=executor,
    )
    assert most_at_once(analysis) == 5
    assert {result["gpus"] for result in analysis.results.values()} == {"0"}

    without = tune.run(meeting, config={"folder": str(folder), "at_once": 1}, executor=executor)
    assert [result["gpus"] for result in without.results.values()] == [""]


class WithHelpers(tune.Trainable):
    """Says which resources it was given."""

    def _train(self) -> dict[str, Any]:
        given = self.trial_resources
        assert given is not None
        names = ("cpu", "gpu", "extra_cpu", "extra_gpu")
        return {name: getattr(given, name) for name in names}


def test_advanced_resource_allocation_1_extra() -> None:
    """0.8 · Advanced Resource Allocation · block 1: a GPU of its own and four for its actors.

    Nothing runs where the five GPUs are not there, so the machine says it had them.
    """
    arguments: dict[str, Any] = {
        "name": "my_trainable",
        "resources_per_trial": {"cpu": 1, "gpu": 1, "extra_gpu": 4},
        "stop": {"training_iteration": 1},
    }
    analysis = tune.run(
        WithHelpers, executor=tune.LocalExecutor(num_cpus=2, num_gpus=5), **arguments
    )
    (result,) = analysis.results.values()
    assert (result["cpu"], result["gpu"], result["extra_gpu"]) == (1, 1, 4)
    with pytest.raises(tune.TunerError, match="GPU"):
        tune.run(WithHelpers, executor=tune.LocalExecutor(num_cpus=2, num_gpus=4), **arguments)


def test_advanced_resource_allocation_2_default_request() -> None:
    """0.8 · Advanced Resource Allocation · block 2: a class that says what its trials need."""
    from tuner.legacy.resources import Resources

    class Declaring(WithHelpers):
        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> Any:
            return Resources(cpu=1, gpu=0, extra_cpu=config["workers"], extra_gpu=0)

    class DeclaringByOldName(WithHelpers):
        @classmethod
        def default_resource_requests(cls, config: dict[str, Any]) -> Any:
            return Resources(cpu=1, gpu=0, extra_cpu=config["workers"], extra_gpu=0)

    for trainable in (Declaring, DeclaringByOldName):
        analysis = tune.run(
            trainable,
            config={"workers": tune.grid_search([1, 3])},
            stop={"training_iteration": 1},
            executor=tune.LocalExecutor(num_cpus=4),
        )
        given = [(each["cpu"], each["extra_cpu"]) for each in analysis.results.values()]
        assert given == [(1, 1), (1, 3)]
