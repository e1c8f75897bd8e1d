"""Schedulers with the arguments of 0.5."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tuner import schedulers as today
from tuner.errors import ConfigError
from tuner.legacy import schedulers

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")

WITH_REWARD = ["AsyncHyperBandScheduler", "HyperBandScheduler", "MedianStoppingRule"]


@pytest.mark.parametrize("name", [*WITH_REWARD, "PopulationBasedTraining"])
def test_the_objective(name: str) -> None:
    kind = getattr(schedulers, name)
    needed: dict[str, Any] = (
        {"hyperparam_mutations": {"lr": [1, 2]}} if name == "PopulationBasedTraining" else {}
    )
    made = kind(**needed)
    assert isinstance(made, getattr(today, name))
    assert (made.metric, made.mode) == ("episode_reward_mean", "max")
    made = kind("timesteps_total", "neg_mean_loss", **needed)
    assert (made.metric, made.mode) == ("neg_mean_loss", "max")
    assert made.debug_string().startswith(name)
    made = kind(metric="mean_loss", mode="min", **needed)
    assert (made.metric, made.mode) == ("mean_loss", "min")
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), again.metric) == (kind, "mean_loss")
    with pytest.raises(ConfigError, match=f"{name}.*reward_attr='a'.*give it, or metric and mode"):
        kind(reward_attr="a", metric="b", **needed)
    with pytest.raises(ConfigError, match=f"{name}.*time_attr"):
        kind(time_attr="", **needed)


def test_defaults_of_the_time() -> None:
    lines = schedulers.AsyncHyperBandScheduler().debug_string().splitlines()
    assert [line.count("t=") for line in lines[1:]] == [3, 2, 1]
    assert lines[1].startswith("bracket 0: t=10: 0 trials, t=30: 0 trials, t=90")
    assert schedulers.FIFOScheduler is today.FIFOScheduler


def test_arguments_in_the_order_of_the_time() -> None:
    schedulers.MedianStoppingRule("time_total_s", "reward", 30.0, 2, False, False)
    schedulers.HyperBandScheduler("training_iteration", "reward", 27)
    schedulers.PopulationBasedTraining("time_total_s", "reward", 20.0, {"lr": [1, 2]}, 0.5, None, 1)
    with pytest.raises(ConfigError, match="max_t"):
        schedulers.AsyncHyperBandScheduler("training_iteration", "reward", -1)
