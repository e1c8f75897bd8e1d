"""Whole experiments with functions of the older APIs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, fit, run_script

import tuner as tune

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


def by_reporter(config: dict[str, Any], reporter: Any) -> None:
    assert reporter.logdir == tune.get_context().get_trial_dir()
    assert reporter.trial_id in reporter.trial_name
    assert reporter.trial_resources.cpu == 1
    for step in range(1, 100):
        if step % 2:
            reporter(timesteps_total=step, mean_loss=1 / step)
        else:
            reporter({"timesteps_total": step, "mean_loss": 1 / step})


def by_keywords(config: dict[str, Any]) -> None:
    for step in range(1, 100):
        tune.report(timesteps_this_iter=1, mean_loss=1 / step)


def by_track(config: dict[str, Any]) -> None:
    assert tune.track.trial_dir() == os.getcwd()
    assert tune.track.trial_id() in tune.track.trial_name()
    for step in range(1, 100):
        tune.track.log(timesteps_this_iter=1, mean_loss=1 / step)


@pytest.mark.parametrize("function", [by_reporter, by_keywords, by_track])
@pytest.mark.parametrize("executor", ["auto", "inline"])
def test_a_threshold_of_neg_mean_loss(function: Any, executor: str, tmp_path: Path) -> None:
    """The trial ends at the report that reaches it."""
    (result,) = fit(function, tmp_path, run={"stop": {"neg_mean_loss": -0.1}, "executor": executor})
    assert result.error is None
    assert result.metrics is not None
    assert (result.metrics["timesteps_total"], result.metrics["mean_loss"]) == (10, 0.1)
    assert result.metrics["neg_mean_loss"] == -0.1


def by_number(config: dict[str, Any]) -> None:
    tune.report(config["x"])


def test_a_bare_number(tmp_path: Path) -> None:
    results = fit(
        by_number, tmp_path, space={"x": tune.grid_search([3, 5])}, metric="_metric", mode="max"
    )
    assert results.get_best_result().config == {"x": 5}


def with_data(config: dict[str, Any], reporter: Any, data: Any) -> None:
    append(config["seen"], f"{type(reporter).__name__} {sum(data)}\n")
    reporter(total=sum(data), done=True)
    reporter(total=-1)


def test_parameters_beside_the_reporter(tmp_path: Path) -> None:
    trainable = tune.with_resources(tune.with_parameters(with_data, data=[1, 2]), {"cpu": 0.5})
    results = fit(
        trainable, tmp_path, space={"i": tune.grid_search([1, 2]), "seen": str(tmp_path / "seen")}
    )
    assert [result.metrics["total"] for result in results] == [3, 3]
    assert (tmp_path / "seen").read_text() == "Reporter 3\n" * 2


SCRIPT = """
import warnings
warnings.simplefilter("ignore", FutureWarning)
import tuner as tune

def train_func(config, reporter):
    for idx in range(50):
        accuracy = idx * config["lr"] * 10
        reporter(timesteps_total=idx, mean_accuracy=accuracy)

tune.register_trainable("train_func", train_func)
results = tune.Tuner(
    "train_func",
    param_space={"lr": tune.grid_search([0.2, 0.4, 0.6])},
    run_config=tune.RunConfig(verbose=0, stop={"mean_accuracy": 99}),
).fit()
print([result.metrics["timesteps_total"] for result in results])
"""


def test_a_script_of_the_time(tmp_path: Path) -> None:
    assert run_script(SCRIPT, tmp_path).strip() == "[49, 25, 17]"


WARNING_SCRIPT = """
import tuner as tune

def train(config):
    tune.report(loss=1)

tune.Tuner(
    train, param_space={"x": tune.grid_search([1, 2, 3, 4])}, run_config=tune.RunConfig(verbose=1)
).fit()
"""


def test_many_trials_warn_once(tmp_path: Path) -> None:
    printed = run_script(WARNING_SCRIPT, tmp_path)
    assert printed.count("is of an older API") == 1
    assert "user_script.py:5: FutureWarning: tune.report(loss=…)" in printed
