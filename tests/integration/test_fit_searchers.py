"""Searchers that users write: what they suggest is put into the param_space."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import tuner as tune
from tuner.errors import ConfigError
from tuner.search import ConcurrencyLimiter, Searcher


class Countdown(Searcher):
    """The example of the documentation: it knows nothing of `set_search_properties`."""

    def __init__(self, left: int = 2) -> None:
        super().__init__(metric="loss", mode="min")
        self.left = left

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        if self.left == 0:
            return Searcher.FINISHED
        self.left -= 1
        return {"model": {"width": self.left}}


class Follower(Searcher):
    """Takes part of the search space, by the older signature, and looks for more of the best."""

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any]) -> bool:  # type: ignore[override]
        self.metric, self.mode, self.space = metric, mode, config
        self.best: dict[str, Any] = {"x": 0.5}
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"x": self.best["x"] / 2}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        assert result is not None
        self.best = {"x": result["config"]["x"]}


def fit(path: Path, searcher: Searcher, space: dict[str, Any], **fields: Any) -> tune.ResultGrid:
    executor = fields.pop("executor", "local")
    return tune.Tuner(
        lambda config: {"loss": 1.0},
        param_space=space,
        tune_config=tune.TuneConfig(search_alg=searcher, **fields),
        run_config=tune.RunConfig(storage_path=str(path), executor=executor, verbose=0),
    ).fit()


@pytest.mark.parametrize("executor", ["local", "inline"])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: ConcurrencyLimiter(s, 1)])
def test_constants_and_functions_complete_a_suggestion(
    wrap: Any, executor: str, tmp_path: Path
) -> None:
    space = {
        "model": {"depth": 3, "width": 100},
        "batch": 32,
        "units": tune.sample_from(lambda spec: spec.config.model.width * 10),
    }
    grid = fit(
        tmp_path,
        wrap(Countdown()),
        space,
        num_samples=5,
        metric="loss",
        mode="min",
        executor=executor,
    )
    assert [result.config for result in grid] == [
        {"model": {"depth": 3, "width": width}, "batch": 32, "units": width * 10}
        for width in (1, 0)
    ]
    assert space["model"] == {"depth": 3, "width": 100}


def test_what_was_suggested_names_the_trial(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Named(tune.Callback):
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            seen.append((trial.evaluated_params, trial.experiment_tag))

    grid = tune.Tuner(
        lambda config: {"loss": 1.0},
        param_space={"batch": 32},
        tune_config=tune.TuneConfig(search_alg=Countdown(1), num_samples=1),
        run_config=tune.RunConfig(storage_path=str(tmp_path), callbacks=[Named()], verbose=0),
    ).fit()
    assert seen == [({"model/width": 0}, "0_width=0")]
    assert os.path.basename(grid[0].path).endswith("_0_width=0")
    assert grid[0].metrics["experiment_tag"] == "0_width=0"


def test_domains_that_a_searcher_leaves_are_drawn_by_the_seed(tmp_path: Path) -> None:
    space = {"x": tune.uniform(0, 1), "dropout": tune.uniform(0, 1)}
    grids = [
        fit(
            tmp_path,
            Follower(),
            space,
            num_samples=3,
            seed=7,
            metric="loss",
            mode="min",
            max_concurrent_trials=1,
        )
        for _ in range(2)
    ]
    first, second = ([result.config for result in grid] for grid in grids)
    assert [config["x"] for config in first] == [0.25, 0.125, 0.0625]
    assert len({config["dropout"] for config in first}) == 3
    assert first == second


def test_a_search_space_that_the_searcher_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model/lr, n to be searched.*Countdown.*own"):
        fit(
            tmp_path,
            Countdown(),
            {"model": {"lr": tune.uniform(0, 1)}, "n": tune.grid_search([1, 2]), "k": 5},
        )


def test_a_grid_that_the_searcher_leaves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="n: the searcher suggested no value"):
        fit(tmp_path, Follower(), {"n": tune.grid_search([1, 2])}, metric="loss", mode="min")
