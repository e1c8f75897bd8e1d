"""Whole experiments with the schedulers and searchers of the older APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit

import tuner as tune
from tuner.legacy import schedulers
from tuner.legacy.hpo_scheduler import HyperOptScheduler

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


def train(config: dict[str, Any], reporter: Any) -> None:
    for step in range(1, 31):
        reporter(timesteps_total=step, mean_loss=config["x"] + 1 / step)


def test_the_worst_are_stopped_early(tmp_path: Path) -> None:
    scheduler = schedulers.AsyncHyperBandScheduler(
        time_attr="timesteps_total", reward_attr="neg_mean_loss", max_t=30, brackets=1
    )
    results = fit(
        train,
        tmp_path,
        space={"x": tune.grid_search([1, 2, 3, 4])},
        scheduler=scheduler,
        max_concurrent_trials=1,
    )
    steps = {r.config["x"]: r.metrics["timesteps_total"] for r in results}
    assert steps == {1: 30, 2: 10, 3: 10, 4: 10}


def easy_objective(config: dict[str, Any], reporter: Any) -> None:
    assert type(config["activation"]) is str
    reward = -((config["height"] - 14) ** 2 + abs(config["width"] - 3))
    reporter(timesteps_total=1, episode_reward_mean=reward * config["scale"])


def test_hyperopt_in_place_of_a_scheduler(tmp_path: Path) -> None:
    hp = pytest.importorskip("hyperopt").hp
    space = {
        "width": hp.uniform("width", 0, 20),
        "height": hp.uniform("height", -100, 100),
        "activation": hp.choice("activation", ["relu", "tanh"]),
    }
    searcher, param_space = HyperOptScheduler(max_concurrent=1).as_searcher(
        {"space": space, "scale": 2}
    )
    results = fit(
        easy_objective, tmp_path, space=param_space, search_alg=searcher, num_samples=30, seed=1
    )
    assert not results.errors
    rewards = [result.metrics["episode_reward_mean"] for result in results]
    assert max(rewards[20:]) > -200  # TPE has set in; at random, half of them are below -3000
    assert results[0].config.keys() == {"width", "height", "activation", "scale"}
