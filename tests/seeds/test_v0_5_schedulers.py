"""The documentation of 0.5: Trial Schedulers, Handling Large Datasets, HyperOpt Integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_helpers import run_script
from seed_installs import installed_with
from seed_training import Model, reported

import tuner as tune

pytestmark = pytest.mark.usefixtures("results")


def train(config: dict[str, Any], reporter: Any) -> None:
    model = Model(config["lr"])
    for _ in range(20):
        result = model.step()
        reporter(episode_reward_mean=result["mean_accuracy"], **result)


def test_trial_schedulers_1_async_hyperband() -> None:
    """0.5 · Trial Schedulers · block 1: a scheduler with its defaults stops bad trials early."""
    from tuner.legacy.schedulers import AsyncHyperBandScheduler

    trials = tune.run_experiments(
        {"asha": {"run": train, "repeat": 4, "config": {"lr": tune.grid_search([1e-5, 1.0])}}},
        scheduler=AsyncHyperBandScheduler(),
        max_concurrent_trials=1,
        seed=1,  # which bracket a trial is in is drawn
    )
    ends = {lr: [len(reported(t.path)) for t in trials if t.config["lr"] == lr] for lr in (1e-5, 1)}
    assert [len(each) for each in ends.values()] == [4, 4]
    assert max(ends[1]) == 20
    assert min(ends[1e-5]) < 20
    assert max(t.last_result["episode_reward_mean"] for t in trials) > 0.8


@pytest.mark.parametrize(
    ("name", "arguments", "ends"),
    [
        ("FIFOScheduler", {}, 20),
        ("MedianStoppingRule", {"time_attr": "training_iteration", "grace_period": 3}, 3),
        ("AsyncHyperBandScheduler", {"max_t": 20, "grace_period": 2, "brackets": 1}, 2),
    ],
)
def test_trial_schedulers_names(name: str, arguments: dict[str, Any], ends: int) -> None:
    """0.5 · Trial Schedulers · text: each scheduler by its name, with `reward_attr`."""
    from tuner.legacy import schedulers

    if name != "FIFOScheduler":
        arguments = {**arguments, "reward_attr": "neg_mean_loss"}
    trials = tune.run_experiments(
        {"named": {"run": train, "config": {"lr": tune.grid_search([1.0, 0.3, 0.1, 1e-5])}}},
        scheduler=getattr(schedulers, name)(**arguments),
        max_concurrent_trials=1,
    )
    lengths = {trial.config["lr"]: len(reported(trial.path)) for trial in trials}
    assert lengths[1.0] == 20
    assert lengths[1e-5] == ends


class Member(tune.Trainable):
    """Goes on from the checkpoint that a scheduler gives it."""

    def _setup(self, config: dict[str, Any]) -> None:
        self.score = 0.0

    def _train(self) -> dict[str, Any]:
        self.score += self.config["lr"]
        return {"episode_reward_mean": self.score}

    def _save(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"score": self.score}

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.score = checkpoint["score"]


def population(scheduler: Any) -> list[Any]:
    """Four trials in turns, of which the first are good, and would reach 9 times their `lr`."""
    spec = {
        "run": Member,
        "config": {"lr": tune.grid_search([1.0, 0.9, 0.2, 0.1])},
        "stop": {"training_iteration": 9},
    }
    trials = tune.run_experiments(
        {"population": spec}, scheduler=scheduler, max_concurrent_trials=1, seed=1
    )
    assert {trial.status for trial in trials} == {"TERMINATED"}
    return list(trials)


def test_trial_schedulers_hyperband() -> None:
    """0.5 · Trial Schedulers · text: HyperBand, which pauses classes and goes on with the best."""
    from tuner.legacy.schedulers import HyperBandScheduler

    trials = population(HyperBandScheduler(reward_attr="episode_reward_mean", max_t=9))
    assert [trial.last_result["training_iteration"] for trial in trials] == [9, 1, 1, 1]
    assert trials[0].last_result["episode_reward_mean"] == 9


def test_trial_schedulers_population_based_training() -> None:
    """0.5 · Trial Schedulers · text: PBT, whose bad members go on from good ones."""
    from tuner.legacy.schedulers import PopulationBasedTraining

    trials = population(
        PopulationBasedTraining(
            time_attr="training_iteration",
            reward_attr="episode_reward_mean",
            perturbation_interval=3,
            hyperparam_mutations={"lr": lambda: np.random.uniform(0.1, 1)},
        )
    )
    assert [trial.last_result["training_iteration"] for trial in trials] == [9] * 4
    rewards = [trial.last_result["episode_reward_mean"] for trial in trials]
    assert max(rewards) > 8
    assert min(rewards[2:]) > 9 * 0.2  # more than either could reach alone


DATASET = """
import json
import os

import numpy as np

from tuner import register_trainable, run_experiments
from tuner.legacy.util import pin_in_object_store, get_pinned_object

X = np.random.random(size=1000000)
X_id = pin_in_object_store(X)


def f(config, reporter):
    X = get_pinned_object(X_id)
    reporter(mean=X.mean(), writeable=X.flags.writeable, pid=os.getpid())


register_trainable("f", f)
trials = run_experiments({"pinned": {"run": "f", "repeat": 3}})
assert [trial.last_result["mean"] for trial in trials] == [X.mean()] * 3
assert not any(trial.last_result["writeable"] for trial in trials)
print([trial.last_result["pid"] for trial in trials], os.getpid())
"""


def test_handling_large_datasets_1(tmp_path: Path) -> None:
    """0.5 · Handling Large Datasets · block 1: a pinned array, which trials reach by a closure."""
    pids = run_script(DATASET, tmp_path).splitlines()[-1].replace("[", "").replace("]", "")
    assert len(set(pids.replace(",", "").split())) == 4


def test_hyperopt_integration_1_install() -> None:
    """0.5 · HyperOpt Integration · block 1: the extra brings HyperOpt."""
    pytest.importorskip("hyperopt")
    assert "hyperopt" in installed_with("hyperopt")


def exp(config: dict[str, Any], reporter: Any) -> None:
    for step in range(3):
        score = -((config["param"] - 7) ** 2) - 1 / (step + 1)
        reporter(timesteps_total=step, episode_reward_mean=score, score=score)


@pytest.mark.parametrize("max_concurrent", [None, 2])
def test_hyperopt_integration_2_scheduler(max_concurrent: int | None) -> None:
    """0.5 · HyperOpt Integration · block 2: both arguments of the scheduler."""
    hyperopt = pytest.importorskip("hyperopt")
    from tuner.legacy.hpo_scheduler import HyperOptScheduler

    scheduler = HyperOptScheduler(max_concurrent=max_concurrent, reward_attr="score")
    space = {"param": hyperopt.hp.uniform("param", 0, 20)}
    trials = tune.run_experiments(
        {"by_score": {"run": exp, "repeat": 6, "config": {"space": space}}}, scheduler=scheduler
    )
    params = [trial.config["param"] for trial in trials]
    assert len(set(params)) == 6
    assert all(0 <= param <= 20 for param in params)


def test_hyperopt_integration_3_run() -> None:
    """0.5 · HyperOpt Integration · block 3: HyperOpt proposes five values of its own space."""
    hyperopt = pytest.importorskip("hyperopt")
    from tuner.legacy.hpo_scheduler import HyperOptScheduler

    tune.register_trainable("exp", exp)
    space = {"param": hyperopt.hp.uniform("param", 0, 20)}
    config = {"my_exp": {"run": "exp", "repeat": 5, "config": {"space": space}}}
    trials = tune.run_experiments(config, scheduler=HyperOptScheduler())
    assert [trial.status for trial in trials] == ["TERMINATED"] * 5
    for trial in trials:
        assert 0 <= trial.config["param"] <= 20
        assert trial.last_result["score"] == pytest.approx(
            -((trial.config["param"] - 7) ** 2) - 1 / 3
        )
