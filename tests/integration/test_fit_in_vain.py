"""Trials that ask for what there is not, or of which nobody can tell what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit

import tuner as tune
from tuner.errors import ResourceError


def test_a_request_beyond_the_machine_is_refused(tmp_path: Path) -> None:
    executor = tune.LocalExecutor(num_cpus=2, resources={"license": 1})
    trainable = tune.with_resources(lambda config: {"a": 1}, {"license": 2})
    with pytest.raises(ResourceError, match="2 license, of which there are 1"):
        fit(trainable, tmp_path, run={"executor": executor})


def test_only_the_trial_that_asks_for_too_much_fails(tmp_path: Path) -> None:
    executor = tune.LocalExecutor(num_cpus=2)
    trainable = tune.with_resources(lambda config: {"a": 1}, lambda config: {"cpu": config["cpus"]})
    grid = fit(
        trainable,
        tmp_path,
        space={"cpus": tune.grid_search([1, 8, 2])},
        run={"executor": executor},
    )
    assert [result.status for result in grid] == ["TERMINATED", "ERROR", "TERMINATED"]
    assert "8 CPU, of which there are 2" in str(grid[1].error)


def test_only_the_trial_whose_resources_cannot_be_told_fails(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> dict[str, Any]:
        return {"a": config["cpus"]}

    trainable = tune.with_resources(train, lambda config: {"cpu": 2 / config["cpus"]})
    grid = fit(
        trainable,
        tmp_path,
        space={"cpus": tune.grid_search([1, 0, -1, 2])},
        run={"executor": tune.LocalExecutor(num_cpus=2), "name": "run"},
    )
    assert [result.status for result in grid] == ["TERMINATED", "ERROR", "ERROR", "TERMINATED"]
    assert "(ZeroDivisionError: division by zero)" in str(grid[1].error)
    assert "(ConfigError: " in str(grid[2].error)
    restored = tune.Tuner.restore(str(tmp_path / "run"), trainable, restart_errored=True).fit()
    assert [result.status for result in restored] == [result.status for result in grid]


class Asking(tune.Trainable):
    """Tells what it is configured with."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        return tune.PlacementGroupFactory([{"CPU": {1: 1, 2: 2}[config["cpus"]]}])

    def step(self) -> dict[str, Any]:
        return {"a": self.config["cpus"]}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass


def test_a_change_to_what_no_resources_can_be_told_of_keeps_them(tmp_path: Path) -> None:
    grid = fit(
        Asking,
        tmp_path,
        space={"cpus": tune.grid_search([1, 2])},
        run={"executor": tune.LocalExecutor(num_cpus=3), "stop": {"training_iteration": 4}},
        metric="a",
        mode="max",
        scheduler=tune.schedulers.PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=2,
            quantile_fraction=0.5,
            synch=True,
            custom_explore_fn=lambda config: {**config, "cpus": 3},
            hyperparam_mutations={"cpus": [1, 2]},
        ),
    )
    assert not grid.errors
    assert [result.metrics["a"] for result in grid] == [3, 2]


def too_much(config: dict[str, Any]) -> dict[str, float]:
    return {"gpu": 9999}


def test_trials_without_end_that_can_never_run_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="num_samples=-1 sets no end to it"):
        fit(tune.with_resources(lambda config: None, too_much), tmp_path, num_samples=-1)


def test_many_trials_that_can_never_run_all_fail(tmp_path: Path) -> None:
    grid = fit(tune.with_resources(lambda config: None, too_much), tmp_path, num_samples=250)
    assert grid.num_errors == 250
