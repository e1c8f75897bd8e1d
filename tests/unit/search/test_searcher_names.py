"""What searchers can be called beside today's names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tuner as tune
from tuner.errors import ConfigError, StorageError
from tuner.legacy.reward_attr import objective
from tuner.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher
from tuner.search.evaluated_trials import EvaluatedTrial, evaluated_trials

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")

SPACE = {"x": tune.uniform(-5, 5)}


class Told(Searcher):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__("loss", "min")
        self.points: list[Any] = []

    def add_evaluated_point(
        self, parameters: Mapping[str, Any], value: Any, *more: Any, **others: Any
    ) -> None:
        self.points.append((dict(parameters), value))


def trial(x: float, status: str = "TERMINATED", **result: Any) -> Any:
    return SimpleNamespace(config={"x": x}, last_result=result, status=status)


def result(x: float, error: Any = None, **metrics: Any) -> Any:
    return SimpleNamespace(config={"x": x}, metrics=metrics, error=error)


TRIALS = [trial(1, loss=0.1), trial(2, "ERROR", loss=0.2), trial(3), trial(4, a=1)]
RESULTS = [result(1, loss=0.1), result(2, ValueError(), loss=0.2), result(3), result(4, a=1)]


@pytest.mark.parametrize("source", [TRIALS, tuple(TRIALS), RESULTS, SimpleNamespace(trials=TRIALS)])
def test_evaluated_trials(source: Any) -> None:
    searcher = Told()
    searcher.add_evaluated_trials(source, "loss")
    assert searcher.points == [({"x": 1}, 0.1), ({"x": 2}, None)]


def test_one_trial() -> None:
    assert evaluated_trials(TRIALS[0]) == [EvaluatedTrial({"x": 1}, {"loss": 0.1}, False)]


@pytest.mark.parametrize("source", [3, [3], "trials", {"x": 1}])
def test_what_has_no_trials(source: Any) -> None:
    with pytest.raises(ConfigError, match="is no trial that a searcher could learn from"):
        Told().add_evaluated_trials(source, "loss")


def test_a_metric_that_no_trial_has(caplog: pytest.LogCaptureFixture) -> None:
    searcher = Told()
    with caplog.at_level(logging.WARNING):
        searcher.add_evaluated_trials(TRIALS, "los")
    assert "metric='los'): none of 4 trials has reported it" in caplog.text


def test_a_searcher_that_does_not_learn() -> None:
    with pytest.raises(ConfigError, match="BasicVariantGenerator does not learn"):
        BasicVariantGenerator().add_evaluated_trials(TRIALS, "loss")


def test_a_grid_of_results(tmp_path: Path) -> None:
    grid = tune.Tuner(
        lambda config: {"loss": config["x"] ** 2},
        param_space={"x": tune.grid_search([1, 2])},
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    searcher = Told()
    ConcurrencyLimiter(searcher, max_concurrent=1).add_evaluated_trials(grid, "loss")
    assert searcher.points == [({"x": 1}, 1), ({"x": 2}, 4)]


def test_states_in_a_folder(tmp_path: Path) -> None:
    folder = str(tmp_path / "states")
    searcher = Told()
    with pytest.raises(StorageError, match=r"there is no searcher-state-\*\.pkl"):
        searcher.restore_from_dir(folder)
    for x in (1, 2):
        searcher.add_evaluated_point({"x": x}, 0.0)
        searcher.save_to_dir(folder)
    assert [path.name for path in Path(folder).iterdir()] == ["searcher-state-default.pkl"]
    other = Told()
    other.restore_from_dir(folder)
    assert other.points == searcher.points


def test_a_reward() -> None:
    assert objective("HyperOptSearch", "reward", None, None) == ("reward", "max")
    with pytest.raises(ConfigError, match=r"reward_attr='reward'.*give it, or metric and mode"):
        objective("HyperOptSearch", "reward", None, "max")


def test_hyperopt_with_older_arguments() -> None:
    pytest.importorskip("hyperopt")
    from tuner.integrations.hyperopt import HyperOptSearch

    searcher = HyperOptSearch(reward_attr="reward", max_concurrent=3)
    assert (searcher.metric, searcher.mode, searcher.max_concurrent) == ("reward", "max", 3)
    with pytest.raises(ConfigError, match="max_concurrent=0"):
        HyperOptSearch(max_concurrent=0)


def test_bayesopt_learns_from_an_analysis() -> None:
    pytest.importorskip("bayes_opt")
    from tuner.integrations.bayesopt import BayesOptSearch

    for analysis in (SimpleNamespace(trials=TRIALS), RESULTS):
        searcher = BayesOptSearch(metric="loss", mode="min", analysis=analysis)
        searcher.set_search_properties(None, None, SPACE, seed=1)
        assert searcher._optimizer.space.target.tolist()[0] == -0.1
        assert [1.0] in searcher._optimizer.space.params.tolist()


@pytest.mark.parametrize("native", [False, True])
def test_optuna_is_told_what_was_pruned(native: bool) -> None:
    optuna = pytest.importorskip("optuna")
    from tuner.integrations.optuna import OptunaSearch

    space: Any = {"x": optuna.distributions.FloatDistribution(-5, 5)} if native else None
    searcher = OptunaSearch(space, metric="loss", mode="max", seed=1)
    searcher.add_evaluated_point({"x": 0.5}, 0.1)
    searcher.set_search_properties(None, None, {} if native else SPACE)
    searcher.add_evaluated_point({"x": 1.0}, 0.2, pruned=True, intermediate_values=[0.3, 0.2])
    searcher.add_evaluated_point({"x": 2.0}, 0.4, intermediate_values=[0.5])
    searcher.add_evaluated_point({"x": 3.0}, 0.4, error=True, pruned=True)
    searcher.suggest("a")
    told = searcher._study.get_trials()[:4]
    assert [each.state.name for each in told] == ["COMPLETE", "PRUNED", "COMPLETE", "FAIL"]
    assert [each.intermediate_values for each in told] == [{}, {1: 0.3, 2: 0.2}, {1: 0.5}, {}]
    assert [each.params["x"] for each in told] == [0.5, 1.0, 2.0, 3.0]


def test_others_take_a_pruned_one_for_what_it_reached() -> None:
    pytest.importorskip("hyperopt")
    from tuner.integrations.hyperopt import HyperOptSearch

    searcher = HyperOptSearch(metric="loss", mode="min", seed=1)
    searcher.set_search_properties(None, None, SPACE)
    searcher.add_evaluated_point({"x": 1.0}, 0.2, pruned=True, intermediate_values=[0.3, 0.2])
    searcher.add_evaluated_point({"x": 2.0}, 0.2, error=True)
    assert searcher._trials.statuses() == ["ok", "fail"]
