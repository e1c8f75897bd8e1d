"""What BayesOptSearch alone has; the rest is in the contract suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from searchers import opened, run

import tuner as tune
from tuner.errors import ConfigError
from tuner.integrations.bayesopt import BayesOptSearch

pytest.importorskip("bayes_opt", reason="bayesian-optimization is not installed: tuner[bayesopt]")

SQUARE = {"x": tune.uniform(-5, 5), "y": tune.uniform(-5, 5)}


def square(config: dict[str, Any]) -> float:
    return float((config["x"] - 1) ** 2 + (config["y"] + 2) ** 2)


def test_bounds_by_name_are_a_search_space() -> None:
    searcher = BayesOptSearch({"x": (-5, 5), "y": [-5, 5]}, "loss", "min")
    assert not searcher.set_search_properties(None, None, {}, seed=7)
    assert run(searcher, square, 12) == run(opened(BayesOptSearch, SQUARE), square, 12)


@pytest.mark.parametrize("utility", [{"kind": "ei", "xi": 0.1}, {"kind": "poi"}, {"kappa": 0.1}])
def test_the_utility_decides(utility: dict[str, Any]) -> None:
    usual = run(opened(BayesOptSearch, SQUARE), square, 12)
    other = run(opened(BayesOptSearch, SQUARE, utility_kwargs=utility), square, 12)
    assert usual[:10] == other[:10]
    assert usual[10] != other[10]


def test_one_value_is_modelled_too() -> None:
    space = {"x": tune.uniform(0, 1), "y": tune.uniform(2, 2), "n": tune.randint(3, 4)}
    for config in run(opened(BayesOptSearch, space), lambda config: (config["x"] - 0.3) ** 2, 12):
        assert (config["y"], config["n"]) == (2.0, 3)


def test_logarithms_are_modelled() -> None:
    """The optimum is in the lowest thousandth of the range."""
    space = {"lr": tune.loguniform(1e-6, 1.0), "units": tune.lograndint(1, 10_000)}

    def loss(config: dict[str, Any]) -> float:
        import math

        return math.log10(config["lr"] / 1e-4) ** 2 + math.log10(config["units"] / 30) ** 2

    best = min(run(opened(BayesOptSearch, space), loss, 25), key=loss)
    assert loss(best) < 0.1


def test_duplicates_are_skipped_and_end_the_search() -> None:
    searcher = opened(BayesOptSearch, {"n": tune.randint(0, 4)}, random_search_steps=2)
    seen: list[int] = []
    while isinstance(config := searcher.suggest(f"t{len(seen)}"), dict):
        seen.append(config["n"])
        searcher.on_trial_complete(f"t{len(seen) - 1}", {"loss": float(config["n"])})
    assert config == BayesOptSearch.FINISHED
    assert len(set(seen)) == len(seen) >= 2
    assert 0 in seen


def test_duplicates_are_tried_if_they_are_wanted() -> None:
    space = {"n": tune.randint(0, 2)}
    searcher = opened(BayesOptSearch, space, skip_duplicate=False, patience=4)
    seen: list[int] = []
    while isinstance(config := searcher.suggest(f"t{len(seen)}"), dict):
        seen.append(config["n"])
        searcher.on_trial_complete(f"t{len(seen) - 1}", {"loss": float(config["n"])})
    assert config == BayesOptSearch.FINISHED
    assert max(seen.count(0), seen.count(1)) == 4


def test_what_was_told_is_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    searcher = opened(BayesOptSearch, {"n": tune.randint(0, 2)}, random_search_steps=1)
    for _ in range(3):
        searcher.add_evaluated_points([{"n": 0}, {"n": 1}], [0.0, 1.0])
    assert searcher.suggest("t") == BayesOptSearch.FINISHED
    assert capfd.readouterr() == ("", "")


def test_a_call_without_an_answer_leaves_no_trace() -> None:
    """A replay has no such calls."""
    searchers = [opened(BayesOptSearch, {"n": tune.randint(0, 3)}) for _ in range(2)]
    for searcher in searchers:
        number = 0
        while searcher.suggest(f"t{number}") is not None:
            number += 1
    for _ in range(5):
        assert searchers[0].suggest("later") is None
    searchers[0].on_trial_complete("t0", {"loss": 1.0})
    searchers[1].on_trial_complete("t0", {"loss": 1.0})
    first, second = (cloudpickle.dumps(searcher.get_state()) for searcher in searchers)
    assert first == second


def test_trials_at_a_time_are_apart() -> None:
    searcher = opened(BayesOptSearch, SQUARE)
    run(searcher, square, 15)
    configs = [searcher.suggest(f"at a time {number}") for number in range(4)]
    places = [(config["x"], config["y"]) for config in configs if isinstance(config, dict)]
    distances = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a in places for b in places if a is not b]
    assert len(distances) == 12
    assert min(distances) > 0.01


def test_a_trial_without_a_value_counts_as_the_worst() -> None:
    searcher = opened(BayesOptSearch, SQUARE)
    run(searcher, square, 20)
    failed = searcher.suggest("failing")
    assert isinstance(failed, dict)
    searcher.on_trial_complete("failing", error=True)
    for config in run(searcher, square, 3):
        assert abs(config["x"] - failed["x"]) + abs(config["y"] - failed["y"]) > 0.01


def test_an_earlier_experiment_teaches(tmp_path: Path) -> None:
    grid = tune.Tuner(
        lambda config: {"loss": square(config)},
        param_space=SQUARE,
        tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=25, seed=1),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    searcher = opened(BayesOptSearch, SQUARE, analysis=grid)
    (config,) = run(searcher, square, 1)
    taught = opened(BayesOptSearch, SQUARE)
    taught.add_evaluated_points(
        [result.config for result in grid], [result.metrics["loss"] for result in grid]
    )
    assert run(taught, square, 1) == [config]
    assert square(config) < 5


def test_arguments_that_cannot_work_are_named() -> None:
    for arguments, error in [
        ({"utility_kwargs": {"kappas": 1}}, "utility_kwargs has 'kappas'; it may have kind, kappa"),
        ({"utility_kwargs": {"kind": "x"}}, "kind='x' must be one of ucb, ei, poi"),
        ({"patience": 0}, "patience=0 must be 1 or more"),
        ({"seed": 1, "random_state": 2}, "seed=1 and random_state=2 are the same"),
    ]:
        with pytest.raises(ConfigError, match=error):
            BayesOptSearch(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"x=randn\(0.0, 1.0\): .*no normal distribution"):
        opened(BayesOptSearch, {"x": tune.randn(0, 1)})
    with pytest.raises(ConfigError, match="takes one objective"):
        opened(BayesOptSearch, SQUARE, metric=["a", "b"], mode="min")
