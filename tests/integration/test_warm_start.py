"""Searchers that begin with what an earlier experiment found."""

from __future__ import annotations

import math
import os
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import fit, start_script, wait_until
from servers import Bucket

import tuner as tune
from tuner.errors import ConfigError, SearchSpaceError, StorageError
from tuner.integrations.optuna import OptunaSearch
from tuner.schedulers import PopulationBasedTraining
from tuner.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater

SPACE = {
    "x": tune.uniform(-5, 5),
    "net": {"kind": tune.choice(["a", {"depth": tune.randint(1, 9)}])},
    "fn": tune.choice([math.sin, math.cos]),
    "k": 3,
}


def train(config: dict[str, Any]) -> None:
    tune.report({"loss": math.inf, "eval": {"size": 1}})
    if config["x"] > 3:
        raise RuntimeError("as asked")
    loss = math.nan if config["x"] < -4 else abs(config["x"])
    tune.report({"loss": loss, "eval": {"size": -config["x"]}})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> tune.ResultGrid:
    folder = tmp_path_factory.mktemp("earlier")
    return fit(train, folder, space=SPACE, metric="loss", mode="min", num_samples=40, seed=2)


def good(grid: tune.ResultGrid) -> list[tune.Result]:
    return [each for each in grid if -4 <= each.config["x"] <= 3]


def test_points_and_values_are_those_of_the_trials(earlier: tune.ResultGrid) -> None:
    assert {each.status for each in earlier} == {"TERMINATED", "ERROR"}
    found = tune.from_experiment(earlier.experiment_path)
    assert found.rewards == [abs(each.config["x"]) for each in good(earlier)]
    assert found.points == [
        {"x": each.config["x"], "net/kind": each.config["net"]["kind"], "fn": each.config["fn"]}
        for each in good(earlier)
    ]
    assert len(found.points) < len(earlier)
    best = min(good(earlier), key=lambda each: abs(each.config["x"]))
    assert found.best(3)[0]["x"] == best.config["x"]
    assert len(found.best(3)) == 3


def test_other_metrics_and_several(earlier: tune.ResultGrid) -> None:
    path = earlier.experiment_path
    sizes = tune.from_experiment(path, "eval/size", "max")
    assert sizes.rewards == [-each.config["x"] for each in earlier if not each.error]
    assert sizes.best(1)[0]["x"] == min(each.config["x"] for each in earlier)
    both = tune.from_experiment(path, ["loss", "eval/size"], ["min", "max"])
    assert both.rewards == [[abs(x), -x] for x in (each.config["x"] for each in good(earlier))]
    with pytest.raises(ConfigError, match=r"mode=\['min', 'max'\]"):
        both.best(1)


def test_a_category_is_one_value_whatever_is_in_it(tmp_path: Path) -> None:
    space = {
        "x": tune.uniform(-5, 5),
        "c": tune.choice(
            [{"k": "a", "d": tune.randint(1, 5)}, {"k": "b", "e": tune.loguniform(0.1, 1)}]
        ),
    }
    options: dict[str, Any] = {"metric": "loss", "mode": "min", "num_samples": 6, "seed": 1}
    first = fit(train, tmp_path, space=space, search_alg="optuna", **options)
    found = tune.from_experiment(first.experiment_path, param_space=space)
    assert found.points == [{"x": each.config["x"], "c": each.config["c"]} for each in good(first)]
    searcher = OptunaSearch(points_to_evaluate=[*found.points[:2], {"c": {"d": 3}}])
    again = fit(train, tmp_path, space=space, search_alg=searcher, **options)
    assert [each.config["c"] for each in again][:2] == [each["c"] for each in found.points[:2]]
    assert again[2].config["c"] == {"k": "a", "d": 3}


def test_points_outside_of_the_new_space_are_left_out(earlier: tune.ResultGrid) -> None:
    narrow = {**SPACE, "x": tune.uniform(0, 2), "net": {"kind": tune.choice(["a"])}}
    found = tune.from_experiment(earlier.experiment_path, param_space=narrow)
    everything = tune.from_experiment(earlier.experiment_path).points
    within = [each for each in everything if 0 <= each["x"] <= 2 and each["net/kind"] == "a"]
    assert found.points == within
    assert 0 < len(within) < len(everything)
    searcher = OptunaSearch(metric="loss", mode="min")
    searcher.set_search_properties(None, None, narrow)
    with pytest.raises(SearchSpaceError, match=r"OptunaSearch: x=.* is not in uniform\(0.0, 2.0\)"):
        searcher.add_evaluated_points(everything, [0.0] * len(everything))
    fewer = {"x": tune.uniform(-5, 5), "fn": tune.choice([math.sin, math.cos])}
    assert tune.from_experiment(earlier.experiment_path, param_space=fewer).points == []


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_searcher_that_learns_begins_where_the_other_ended(
    earlier: tune.ResultGrid, tmp_path: Path, wrapped: bool
) -> None:
    found = tune.from_experiment(earlier.experiment_path)
    if wrapped:
        searcher: Any = Repeater(ConcurrencyLimiter(OptunaSearch(), 4), repeat=1)
        searcher.add_evaluated_points(found.points, found.rewards)
    else:
        searcher = OptunaSearch(points_to_evaluate=found.points, evaluated_rewards=found.rewards)
    options = {"metric": "loss", "mode": "min", "num_samples": 16, "seed": 1}
    options |= {"space": SPACE, "search_alg": searcher, "max_concurrent_trials": 1}
    grid = fit(lambda config: {"loss": abs(config["x"])}, tmp_path, **options)
    assert statistics.median(abs(each.config["x"]) for each in grid) < 1  # 2.5 at random


def test_any_searcher_tries_the_best_points_again(earlier: tune.ResultGrid, tmp_path: Path) -> None:
    best = tune.from_experiment(earlier.experiment_path).best(2)
    searcher = BasicVariantGenerator(points_to_evaluate=best)
    with pytest.raises(ConfigError, match="BasicVariantGenerator does not learn from evaluated"):
        searcher.add_evaluated_points(best, [0.0, 0.0])
    options: dict[str, Any] = {"space": SPACE, "metric": "loss", "mode": "min", "num_samples": 3}
    first, second, _ = fit(train, tmp_path, search_alg=searcher, **options)
    for result, point in zip((first, second), best, strict=True):
        assert result.config == {
            "x": point["x"],
            "net": {"kind": point["net/kind"]},
            "fn": point["fn"],
            "k": 3,
        }


class Grower(tune.Trainable):
    """Its score grows by its rate."""

    def setup(self, config: dict[str, Any]) -> None:
        self.score = 0.0

    def step(self) -> dict[str, Any]:
        self.score += self.config["rate"]
        return {"score": self.score}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"score": self.score}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.score = checkpoint["score"]


def test_of_a_population_the_last_configurations_count(tmp_path: Path) -> None:
    mutations = {"rate": tune.uniform(0, 1)}
    grid = fit(
        Grower,
        tmp_path,
        run={"stop": {"training_iteration": 12}},
        metric="score",
        mode="max",
        num_samples=4,
        seed=1,
        scheduler=PopulationBasedTraining(
            perturbation_interval=2, hyperparam_mutations=mutations, synch=True
        ),
    )
    found = tune.from_experiment(grid.experiment_path)
    assert found.points == [{"rate": each.config["rate"]} for each in grid]
    assert found.rewards == [each.metrics["score"] for each in grid if each.metrics]


KILLED = """
import threading
import tuner as tune

def train(config):
    tune.report({"loss": config["x"]})
    if config["x"] == 3:
        threading.Event().wait()

if __name__ == "__main__":
    tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2, 3])},
        tune_config=tune.TuneConfig(metric="loss", mode="min", max_concurrent_trials=1),
        run_config=tune.RunConfig(name="killed", storage_path="results", verbose=0),
    ).fit()
"""


def test_an_experiment_that_was_killed(tmp_path: Path) -> None:
    """What had not ended is not known well enough to learn from."""
    process = start_script(KILLED, tmp_path, "killed")
    experiment = tmp_path / "results" / "killed"
    wait_until(lambda: len([*experiment.glob("*/progress.csv")]) == 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    found = tune.from_experiment(experiment)
    assert (found.points, found.rewards) == ([{"x": 1}, {"x": 2}], [1, 2])


def test_from_remote_storage(s3_server: Bucket, tmp_path: Path) -> None:
    options: dict[str, Any] = {"space": SPACE, "metric": "loss", "mode": "min", "num_samples": 4}
    grid = fit(train, f"{s3_server.url}/warm", run={"name": "far"}, seed=2, **options)
    found = tune.from_experiment(f"{s3_server.url}/warm/far")
    assert found.rewards == [abs(each.config["x"]) for each in good(grid)]


def test_errors_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=r"from_experiment\('.*nothing'\): there is no experiment"
    ):
        tune.from_experiment(tmp_path / "nothing")
    grid = fit(train, tmp_path, space={"x": 1.0})
    with pytest.raises(ConfigError, match="it was run without a metric; name the one"):
        tune.from_experiment(grid.experiment_path)
    with pytest.raises(ConfigError, match=r"metric='los'.*: none of the 1 trials that have ended"):
        tune.from_experiment(grid.experiment_path, "los")
    with pytest.raises(ConfigError, match=r"from_experiment\(mode=.maximum.\)"):
        tune.from_experiment(grid.experiment_path, "loss", "maximum")
    found = tune.from_experiment(grid.experiment_path, "loss")
    assert (found.points, found.rewards, found.mode) == ([{}], [1.0], None)
    with pytest.raises(ConfigError, match=r"EvaluatedPoints.best\(mode=None\)"):
        found.best(1)
