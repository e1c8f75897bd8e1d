"""What an experiment optimizes, wherever the user has said so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tuner as tune
from tuner.analysis import ExperimentAnalysis
from tuner.objective import Objective
from tuner.policies import build_scheduler, build_searcher
from tuner.schedulers import ASHAScheduler
from tuner.search import ConcurrencyLimiter

SPACE = {"x": tune.uniform(0, 1)}


def optuna(**options: Any) -> Any:
    pytest.importorskip("optuna")
    from tuner.integrations.optuna import OptunaSearch

    return OptunaSearch(**options)


def resolved(config: tune.TuneConfig) -> tuple[Any, Any]:
    objective = Objective.of(config, build_scheduler(config, 1), build_searcher(config, SPACE, 1))
    return objective.metric, objective.mode


def test_the_config_the_scheduler_and_the_searcher_may_say_it() -> None:
    asha = ASHAScheduler(metric="loss", mode="min")
    assert resolved(tune.TuneConfig(metric="acc", mode="max")) == ("acc", "max")
    assert resolved(tune.TuneConfig(scheduler=asha)) == ("loss", "min")
    search = ConcurrencyLimiter(optuna(metric="acc", mode="max"), 2)
    assert resolved(tune.TuneConfig(search_alg=search)) == ("acc", "max")
    both = tune.TuneConfig(scheduler=asha, search_alg=optuna(metric="acc", mode="max"))
    assert resolved(both) == ("loss", "min")
    several = optuna(metric=["a", "b"], mode=["min", "max"])
    assert resolved(tune.TuneConfig(search_alg=several)) == (["a", "b"], ["min", "max"])


def test_each_may_say_a_part_of_it() -> None:
    config = tune.TuneConfig(mode="min", scheduler=ASHAScheduler(metric="loss"))
    assert resolved(config) == ("loss", "min")
    assert resolved(tune.TuneConfig(mode="max")) == (None, "max")
    assert resolved(tune.TuneConfig()) == (None, None)


@pytest.mark.parametrize(
    ("objective", "modes"),
    [
        (Objective(), {}),
        (Objective("loss"), {"loss": None}),
        (Objective("loss", "min"), {"loss": "min"}),
        (Objective(None, "max"), {"_metric": "max"}),
    ],
)
def test_the_mode_of_each_metric(objective: Objective, modes: dict[str, str | None]) -> None:
    assert objective.modes == modes


def test_experiments_of_before_have_it_in_their_config() -> None:
    assert Objective.described({"tune_config": {"metric": "a", "mode": "min"}}).modes == {
        "a": "min"
    }


class Curve(tune.Trainable):
    def step(self) -> dict[str, Any]:
        return {"loss": self.config["x"] / self.training_iteration if self.iteration else 9.0}


def test_what_a_scheduler_optimizes_is_known_wherever_the_experiment_is_looked_at(
    tmp_path: Path,
) -> None:
    arguments: dict[str, Any] = {"name": "exp", "storage_path": tmp_path, "verbose": 0}
    analysis = tune.run(
        Curve,
        config={"x": tune.grid_search([2, 1])},
        scheduler=ASHAScheduler(metric="loss", mode="min", max_t=3),
        **arguments,
    )
    path = tmp_path / "exp"
    described = json.loads((path / "experiment.json").read_text())
    assert described["objective"] == {"metric": "loss", "mode": "min"}
    resumed = tune.run(Curve, resume=True, **arguments)
    for each in (analysis, ExperimentAnalysis(path), resumed):
        assert (each.default_metric, each.default_mode) == ("loss", "min")
        assert each.best_config == {"x": 1}
    assert tune.Tuner.restore(str(path)).get_results().get_best_result().config == {"x": 1}
    assert tune.from_experiment(str(path)).mode == "min"
