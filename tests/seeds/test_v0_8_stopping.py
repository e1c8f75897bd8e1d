"""The user guide of 0.8: Handling Large Datasets, Custom Stopping Criteria, Auto-Filled Results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import run_script
from seed_training import MyTrainableClass, reported

import tuner as tune
from tuner import Stopper

pytestmark = pytest.mark.usefixtures("results")

DATASET = """
import ray
import tuner as tune
from tuner.legacy.utils import pin_in_object_store, get_pinned_object

import numpy as np

ray.init("local", num_cpus=2, include_dashboard=False)

# X_id can be referenced in closures
X_id = pin_in_object_store(np.random.random(size=1000000))


def f(config, reporter):
    X = get_pinned_object(X_id)
    reporter(mean=X.mean(), size=X.size)


(trial,) = tune.run(f).trials
print(trial.last_result["mean"] == get_pinned_object(X_id).mean(), trial.last_result["size"])
"""


@pytest.mark.slow
def test_handling_large_datasets_1(tmp_path: Path) -> None:
    """0.8 · Handling Large Datasets · block 1: an array in Ray's object store; 8 MB, not 800."""
    pytest.importorskip("ray")
    assert run_script(DATASET, tmp_path).splitlines()[-1] == "True 1000000"


def test_custom_stopping_criteria_1_dictionary() -> None:
    """0.8 · Custom Stopping Criteria · block 1: at 10 iterations, or before at an accuracy."""
    analysis = tune.run(
        MyTrainableClass,
        stop={"training_iteration": 10, "mean_accuracy": 0.81},
        config={"lr": tune.grid_search([1e-6, 3.0])},
    )
    slow, fast = (reported(trial.path) for trial in analysis.trials)
    assert len(slow) == 10
    assert 1 <= len(fast) < 10
    assert fast[-1]["mean_accuracy"] >= 0.81
    assert all(result["mean_accuracy"] < 0.81 for result in [*slow, *fast[:-1]])


def test_custom_stopping_criteria_2_function() -> None:
    """0.8 · Custom Stopping Criteria · block 2: a function of a trial's id and result."""

    class Rising(tune.Trainable):
        def _train(self) -> dict[str, Any]:
            return {"mean_accuracy": self.config["rise"] * (self.iteration + 1) ** 2}

    def stopper(trial_id: str, result: dict[str, Any]) -> bool:
        return result["mean_accuracy"] / result["training_iteration"] > 5

    analysis = tune.run(Rising, stop=stopper, config={"rise": tune.grid_search([1, 2])})
    assert [result["training_iteration"] for result in analysis.results.values()] == [6, 3]


class CustomStopper(Stopper):
    def __init__(self) -> None:
        self.should_stop = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if not self.should_stop and result["foo"] > 10:
            self.should_stop = True
        return self.should_stop

    def stop_all(self) -> bool:
        """Returns whether to stop trials and prevent new ones from starting."""
        return self.should_stop


def test_custom_stopping_criteria_3_stopper() -> None:
    """0.8 · Custom Stopping Criteria · block 3: the first to get there ends all."""

    class Counting(tune.Trainable):
        def _train(self) -> dict[str, Any]:
            time.sleep(0.01)
            return {"foo": self.iteration}

    stopper = CustomStopper()
    analysis = tune.run(
        Counting, stop=stopper, num_samples=20, executor=tune.LocalExecutor(num_cpus=2)
    )
    last = [result["foo"] for result in analysis.results.values() if result]
    assert max(last) == 11
    assert len(last) <= 2
    assert stopper.should_stop
    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}


AUTO_FILLED = {
    "done": bool,
    "training_iteration": int,
    "time_this_iter_s": float,
    "time_total_s": float,
    "time_since_restore": float,
    "iterations_since_restore": int,
    "timesteps_total": int,
    "episodes_total": int,
    "trial_id": str,
    "date": str,
    "timestamp": int,
    "pid": int,
    "hostname": str,
    "node_ip": str,
}


def test_auto_filled_results_1_fields(capfd: pytest.CaptureFixture[str]) -> None:
    """0.8 · Auto-Filled Results · block 1: what is in each result, and what the console shows."""

    class Counted(tune.Trainable):
        def _train(self) -> dict[str, Any]:
            return {
                "timesteps_this_iter": 5,
                "episodes_this_iter": 2,
                "episode_reward_mean": 1.5,
                "mean_loss": 0.25,
                "mean_accuracy": 0.75,
            }

    (trial,) = tune.run(Counted, stop={"timesteps_total": 15}).trials
    results = reported(trial.path)
    for result in results:
        assert {name: type(result[name]) for name in AUTO_FILLED} == AUTO_FILLED
        assert result["trial_id"] == trial.trial_id
    assert [result["timesteps_total"] for result in results] == [5, 10, 15]
    assert [result["episodes_total"] for result in results] == [2, 4, 6]
    assert [result["done"] for result in results] == [False, False, True]
    total = sum(result["time_this_iter_s"] for result in results)
    assert results[-1]["time_total_s"] == pytest.approx(total)

    shown = capfd.readouterr().out.rpartition("Trial name")[2].partition("\n")[0]
    assert [title for title in ("reward", "loss", "acc", "ts") if f" {title} " in shown] == [
        "reward",
        "loss",
        "acc",
        "ts",
    ]
