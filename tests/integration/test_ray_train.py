"""Scripts that mix in `ray.train`: its checkpoints and functions, and its trainers."""

from __future__ import annotations

import math
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.train
from fit_helpers import fit, run_script, wait_until
from ray.train.torch import TorchTrainer
from ray_clusters import RayCluster
from ray_helpers import PATIENCE_S, fit_meanwhile, wait_until_gone

import tuner as tune
from tuner.errors import ConfigError, TrainableError
from tuner.execution.uses_ray import uses_ray
from tuner.trainable.registry import get_trainable
from tuner.trainable.wrappers import resources_for


@pytest.fixture
def two_cpus() -> Iterator[None]:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_checkpoints_of_ray_train_are_reported_and_resumed_from(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        last = tune.get_checkpoint()
        if last is not None:
            tune.report({"resumed": Path(last.to_directory(), "step").read_text()})
            return
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "step").write_text("3")
            tune.report({}, checkpoint=ray.train.Checkpoint.from_directory(folder))
        raise RuntimeError("once")

    once = tune.FailureConfig(max_failures=1)
    (result,) = fit(train, tmp_path, run={"failure_config": once, "executor": "local"})
    assert result.metrics["resumed"] == "3"
    assert isinstance(result.checkpoint, tune.Checkpoint)


@pytest.mark.parametrize("name", ["report", "get_checkpoint", "get_context"])
def test_functions_of_ray_train_name_what_to_call_instead(tmp_path: Path, name: str) -> None:
    def train(config: dict[str, Any]) -> None:
        getattr(ray.train, name)(*[{"loss": 1}] if name == "report" else [])

    (result,) = fit(train, tmp_path, run={"executor": "inline"})
    assert "call tuner.report, tuner.get_checkpoint and tuner.get_context" in str(result.error)
    assert isinstance(result.error, RuntimeError)


@pytest.mark.parametrize("executor", ["inline", "local", "ray"])
@pytest.mark.parametrize("name", ["report", "get_checkpoint", "get_trial_id"])
def test_functions_of_ray_tune_name_what_to_call_instead(
    tmp_path: Path, name: str, executor: str, request: pytest.FixtureRequest
) -> None:
    if executor == "ray":
        request.getfixturevalue("two_cpus")

    def train(config: dict[str, Any]) -> None:
        from ray import tune as other

        if name == "report":
            other.report({"loss": 1})
        elif name == "get_checkpoint":
            other.get_checkpoint()
        else:
            other.get_context().get_trial_id()

    grid = fit(train, tmp_path, num_samples=2, run={"executor": executor})
    for result in grid:
        assert isinstance(result.error, TrainableError)
        assert f"{name} of ray.tune knows nothing of this trial" in str(result.error)
        assert f".{name} instead (import tuner as tune)" in str(result.error)


def test_ray_tune_is_known_also_where_it_is_imported_later(tmp_path: Path) -> None:
    script = """
import sys
import warnings
import tuner as tune

def train(config):
    if config["is_wrong"]:
        import ray.tune
        ray.tune.report({"x": 1})
    return {"x": 1}

for executor, is_wrong in [("local", True), ("inline", False)]:
    run_config = tune.RunConfig(executor=executor, verbose=0)
    (result,) = tune.Tuner(train, param_space={"is_wrong": is_wrong}, run_config=run_config).fit()
    print("ray" in sys.modules, result.error)

from ray.tune import report
with warnings.catch_warnings(record=True) as caught:
    report({"x": 1})
print("outside:", caught[0].message)
"""
    output = run_script(script, tmp_path)
    assert "False trial" in output
    assert "report of ray.tune knows nothing of this trial" in output
    assert "False None" in output
    assert "outside: `report` is meant to only be called inside" in output


def training() -> Callable[[dict[str, Any]], None]:
    """A function that travels by value, as that of a script does."""

    def train_together(config: dict[str, Any]) -> None:
        """Fails once, then trains for ever."""
        import torch

        context = ray.train.get_context()
        checkpoint = ray.train.get_checkpoint()
        step = 0
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                step = int(Path(folder, "step").read_text())
        resumed_at = step
        while True:
            step += 1
            ranks = torch.tensor([context.get_world_rank() + 1.0])
            torch.distributed.all_reduce(ranks)
            if step == 3 and not resumed_at:
                raise ValueError("both workers fail once")
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "step").write_text(str(step))
                made = ray.train.Checkpoint.from_directory(folder)
                metrics = {"step": step, "sum_of_ranks": ranks.item(), "resumed_at": resumed_at}
                ray.train.report(
                    {**metrics, "rank": context.get_world_rank(), **config, "pid": os.getpid()},
                    checkpoint=made if context.get_world_rank() == 0 else None,
                )

    return train_together


@pytest.mark.slow
def test_workers_of_a_trainer_train_one_trial_together(two_cpus: None, tmp_path: Path) -> None:
    trainer = TorchTrainer(
        training(),
        train_loop_config={"lr": 1.0, "momentum": 0.9},
        scaling_config=ray.train.ScalingConfig(num_workers=2),
    )
    (result,) = fit(
        trainer,
        tmp_path,
        space={"train_loop_config": {"lr": tune.grid_search([0.5])}},
        run={"stop": {"step": 4}, "failure_config": tune.FailureConfig(max_failures=1)},
    )
    assert result.error is None
    frame = result.metrics_dataframe
    assert frame["step"].tolist() == [1, 2, 3, 4]
    assert frame["resumed_at"].tolist() == [0, 0, 2, 2]
    assert set(frame["sum_of_ranks"]) == {3.0}
    assert set(frame["rank"]) == {0}
    assert (result.metrics["lr"], result.metrics["momentum"]) == (0.5, 0.9)
    assert result.checkpoint is not None
    assert Path(result.checkpoint.path, "step").read_text() == "4"
    wait_until(lambda: ray.available_resources().get("CPU") == 2.0)
    wait_until_gone(result.metrics["pid"])  # no worker trains on


class KillFirst(tune.Callback):
    """Kills the process of the trial once there is a checkpoint; notes what is in a folder then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.found: list[str] = []

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if not self.found:
            self.found = [path.name for path in self._folder.glob("*/*")]
            os.kill(result["pid"], signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_trial_of_a_trainer_leaves_nothing(two_cpus: None, tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        while True:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "x").touch()
                made = ray.train.Checkpoint.from_directory(folder)
                ray.train.report({"x": 1}, checkpoint=made)

    scratch = tmp_path / "scratch"
    kill = KillFirst(scratch)
    executor = tune.RayExecutor(runtime_env={"env_vars": {"TUNER_SCRATCH_DIR": str(scratch)}})
    (result,) = fit(
        TorchTrainer(train, scaling_config=ray.train.ScalingConfig(num_workers=1)),
        tmp_path,
        run={"executor": executor, "callbacks": [kill]},
    )
    assert result.status == "ERROR"
    assert kill.found == [f"{Path(result.path).name.split('_')[1]}_00000_1"]
    wait_until(lambda: not os.listdir(scratch))
    wait_until(lambda: ray.available_resources().get("CPU") == 2.0)


def trainer_of(num_workers: int) -> TorchTrainer:
    scaling = ray.train.ScalingConfig(num_workers=num_workers)
    return TorchTrainer(training(), scaling_config=scaling)


def reporting() -> Callable[[dict[str, Any]], None]:
    """A function that travels by value, and tells how many workers there are."""

    def report_once(config: dict[str, Any]) -> None:
        ray.train.report({"workers": ray.train.get_context().get_world_size()})

    return report_once


@pytest.mark.slow
def test_a_trainer_that_asks_for_more_than_there_is_fails_and_another_one_trains(
    two_cpus: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grid = fit(
        TorchTrainer(reporting(), scaling_config=ray.train.ScalingConfig(num_workers=1)),
        tmp_path,
        space={"scaling_config": {"num_workers": tune.grid_search([9, 1])}},
        run={"executor": tune.RayExecutor(infeasible_timeout_s=3)},
    )
    assert "it waits 3 s at most for more nodes" in caplog.text
    assert [result.status for result in grid] == ["ERROR", "TERMINATED"]
    assert "ResourceError: a trial asks for {} + {CPU: 1} + {CPU: 1}" in str(grid[0].error)
    assert [result.metrics.get("workers") for result in grid] == [None, 1]


@pytest.mark.slow
def test_a_trainer_trains_once_there_is_room_for_its_workers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RayCluster() as cluster:
        cluster.add_node(num_cpus=1)
        running = fit_meanwhile(
            TorchTrainer(reporting(), scaling_config=ray.train.ScalingConfig(num_workers=2)),
            tmp_path,
            run={"executor": tune.RayExecutor(infeasible_timeout_s=math.inf)},
        )
        wait_until(lambda: "it waits for more nodes" in caplog.text, PATIENCE_S)
        assert cluster.actors_alive() == [], "no trainer is started before"
        cluster.add_node(num_cpus=1)
        (result,) = running.result(PATIENCE_S)
    assert (result.error, result.metrics["workers"]) == (None, 2)


def test_a_trial_asks_for_what_its_workers_take() -> None:
    trainable = get_trainable(trainer_of(2))
    assert resources_for(trainable, {}).bundles == [{}, {"CPU": 1}, {"CPU": 1}]
    config = {"scaling_config": {"num_workers": 1, "resources_per_worker": {"CPU": 3}}}
    assert resources_for(trainable, config).bundles == [{}, {"CPU": 3}]
    assert uses_ray(trainable)


def test_what_cannot_be_tuned_of_ray_train_is_refused() -> None:
    with pytest.raises(TrainableError, match="give a trainer such as TorchTrainer"):
        tune.Tuner(TorchTrainer)
    with pytest.raises(TrainableError, match=r"num_workers=0 trains without ray.train"):
        tune.Tuner(trainer_of(0))
    with pytest.raises(ConfigError, match=r"has 'lr', which.*'train_loop_config'"):
        tune.Tuner(trainer_of(2), param_space={"lr": tune.uniform(0, 1)})


def test_trainers_of_the_older_version_are_refused(tmp_path: Path) -> None:
    script = """
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
import tuner as tune

try:
    tune.Tuner(TorchTrainer(print, scaling_config=ScalingConfig(num_workers=1)))
except tune.TunerError as error:
    print(error)
"""
    output = run_script(script, tmp_path, environ={**os.environ, "RAY_TRAIN_V2_ENABLED": "0"})
    assert "of its version 2 (RAY_TRAIN_V2_ENABLED=1)" in output
