"""What only TuneBOHB has: models by rung, and spaces of ConfigSpace."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from searchers import opened, run

import tuner as tune
from tuner.errors import ConfigError, SearchSpaceError
from tuner.schedulers import HyperBandForBOHB

pytest.importorskip("hpbandster")
import ConfigSpace as CS

from tuner.integrations.bohb import TuneBOHB

X = {"x": tune.uniform(0, 1)}
NESTED = {
    "x": tune.uniform(0, 1),
    "net": tune.choice(
        [{"kind": "a"}, {"kind": "b", "act": tune.choice([0, {"slope": tune.loguniform(1e-9, 1)}])}]
    ),
}
SPACES = {
    "numbers": {"x": tune.uniform(-5, 5), "lr": tune.loguniform(1e-14, 1e-10)},
    "whole": {"x": tune.randint(0, 9), "n": tune.lograndint(1, 10**9), "q": tune.qrandint(2, 9, 2)},
    "steps": {"x": tune.quniform(0, 1, 0.25), "y": tune.qloguniform(1e-3, 1, 1e-3)},
    "choices": {"x": tune.choice([1, 2, 3]), "y": tune.choice(["a", "b"])},
    "one": {"f": tune.uniform(2, 2), "n": tune.randint(4, 5), "c": tune.choice(["c"]), **X},
    "nested": NESTED,
}


def native() -> CS.ConfigurationSpace:
    space = CS.ConfigurationSpace(seed=1)
    kind = CS.CategoricalHyperparameter("net/kind", ["a", "b"])
    depth = CS.UniformIntegerHyperparameter("net/depth", 1, 4)
    space.add([CS.UniformFloatHyperparameter("x", -5, 5), kind, depth, CS.Constant("k", "v")])
    space.add(CS.EqualsCondition(depth, kind, "b"))
    return space


def noted_picks(searcher: TuneBOHB) -> list[bool]:
    """Whether each proposal comes from a model, as HpBandSter says."""
    ask, picks = searcher._bohb.get_config, []

    def noted(budget: Any) -> Any:
        sample, info = ask(budget)
        picks.append(info["model_based_pick"])
        return sample, info

    searcher._bohb.get_config = noted
    return picks


def is_right(config: dict[str, Any]) -> float:
    """The more alike two configurations are, the closer these values."""
    return sum(value for value in config.values() if isinstance(value, int | float))


@pytest.mark.parametrize("name", [*SPACES, "native"])
def test_the_model_is_asked_and_not_chance(
    name: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """HpBandSter proposes at random where its model fails, and only logs that."""
    options = {"random_fraction": 0}
    space = SPACES.get(name) or {"constant": 1}
    searcher = TuneBOHB(native() if name == "native" else None, options, "loss", "min", seed=3)
    searcher.set_search_properties(None, None, space)
    picks = noted_picks(searcher)
    run(searcher, is_right, 40)
    num_parameters = len(searcher._bohb.configspace)
    first = 2 * (num_parameters + 1)  # as many good ones as bad ones, one more than parameters
    assert picks == [False] * first + [True] * (40 - first)
    assert caplog.records == []
    assert [each.message for each in recwarn if "bohb" in each.filename] == []


def test_a_space_of_configspace() -> None:
    point = {"x": 1.5, "net": {"kind": "b", "depth": 2}}
    part = {"net/kind": "a"}
    searcher = TuneBOHB(native(), points_to_evaluate=[point, part], metric="loss", mode="min")
    assert not searcher.set_search_properties(None, None, {"constant": 1}, seed=1)
    configs = run(searcher, lambda config: abs(config["x"] - 1) + config["net"].get("depth", 0), 60)
    assert configs[0] == {**point, "k": "v"}
    assert configs[1]["net"] == {"kind": "a"}
    for config in configs:
        assert ("depth" in config["net"]) == (config["net"]["kind"] == "b")
        assert type(config["x"]) is float
        assert type(config["net"]["kind"]) is str
        assert type(config["net"].get("depth", 1)) is int
    assert sum(config["net"]["kind"] == "a" for config in configs[-20:]) > 12
    assert statistics.median(abs(config["x"] - 1) for config in configs[-20:]) < 1.5


def test_what_configspace_or_the_model_refuses_is_named() -> None:
    space = CS.ConfigurationSpace({"x": (0.0, 1.0)})
    for point, kind, words in (
        ({"z": 1}, SearchSpaceError, "'z' is not in the search space, which has 'x'"),
        ({"x": 7}, ConfigError, r"TuneBOHB: {'x': 7} is not in the space"),
    ):
        searcher = TuneBOHB(space, metric="loss", mode="min", points_to_evaluate=[point])
        with pytest.raises(kind, match=words):
            searcher.set_search_properties(None, None, {})
    ordinal = CS.ConfigurationSpace()
    ordinal.add(CS.OrdinalHyperparameter("size", ["s", "m", "l"]))
    with pytest.raises(ConfigError, match=r"does not support ordinal .*size"):
        TuneBOHB(ordinal, metric="loss", mode="min").set_search_properties(None, None, {})
    with pytest.raises(ConfigError, match=r"'num_sample'; .*did you mean 'num_samples'\?"):
        TuneBOHB(bohb_config={"num_sample": 3})
    with pytest.raises(ConfigError, match=r"x=randn\(0.* has no normal distribution"):
        opened(TuneBOHB, {"x": tune.randn(0, 1)})


def rung(loss: float, budget: float | None) -> dict[str, Any]:
    return {"loss": loss, "hyperband_info": {} if budget is None else {"budget": budget}}


def test_results_count_at_the_rung_that_they_were_reached_at() -> None:
    searcher = opened(TuneBOHB, X)
    losses = searcher._bohb.losses
    for name in "abcd":
        searcher.suggest(name)
    searcher.on_trial_result("a", rung(1, 3))
    searcher.on_trial_result("b", rung(math.nan, 3))
    searcher.on_trial_complete("b", rung(math.nan, 3))  # dropped while it waits: told before
    searcher.suggest("e")
    searcher.on_trial_result("e", rung(2, 3))
    searcher.on_trial_complete("e", {"loss": 2})  # the same, after a restore
    searcher.on_trial_result("a", rung(0.5, None))  # on the way to the next rung
    searcher.on_trial_complete("a", rung(0.25, 9))
    searcher.on_trial_complete("c", rung(0.1, None))  # ended between two rungs
    assert losses == {3: [1, math.inf, 2], 9: [0.25]}
    searcher.on_trial_complete("d", error=True)
    assert losses == {3: [1, math.inf, 2], 9: [0.25, math.inf]}
    searcher.add_evaluated_point({"x": 0.5}, 7)  # told without a rung: the least that is known
    assert losses[0] == [7]


def test_the_highest_rung_with_a_model_is_asked() -> None:
    """Low rungs are wrong here, the highest one knows."""
    searcher = opened(TuneBOHB, X, bohb_config={"random_fraction": 0})
    for number in range(60):
        config = searcher.suggest(f"t{number}")
        assert isinstance(config, dict)
        searcher.on_trial_result(f"t{number}", rung(abs(config["x"] - 0.9), 1))
        searcher.on_trial_complete(f"t{number}", rung(abs(config["x"] - 0.1), 9))
    late = [searcher.suggest(f"late {number}") for number in range(20)]
    assert statistics.median(config["x"] for config in late if isinstance(config, dict)) < 0.3
    assert max(searcher._bohb.kde_models) == 9


def test_waiting_trials_make_room() -> None:
    searcher = opened(TuneBOHB, X, max_concurrent=2)
    assert isinstance(searcher.suggest("a"), dict)
    assert isinstance(searcher.suggest("b"), dict)
    assert searcher.suggest("c") is None
    searcher.on_trial_result("a", rung(1, 3))
    assert isinstance(searcher.suggest("c"), dict)
    searcher.on_trial_result("a", rung(1, None))  # it goes on
    searcher.on_trial_complete("b", rung(1, None))
    assert searcher.suggest("d") is None
    limited = tune.search.ConcurrencyLimiter(searcher, max_concurrent=3)
    assert searcher.max_concurrent == 3
    assert isinstance(limited.suggest("d"), dict)


class Descent(tune.Trainable):
    """Gradient descent on a quadratic of a bad condition, with momentum or without."""

    def setup(self, config: dict[str, Any]) -> None:
        self.state = [[1.0, 1.0], [0.0, 0.0]]

    def step(self) -> dict[str, Any]:
        at, speed = self.state
        method = self.config["method"]
        for i, curvature in enumerate((1.0, 30.0)):
            speed[i] = method.get("momentum", 0) * speed[i] - self.config["lr"] * curvature * at[i]
            at[i] += speed[i]
        return {"loss": min(at[0] ** 2 + 30 * at[1] ** 2, 1e9)}

    def save_checkpoint(self, folder: str) -> dict[str, Any]:
        return {"state": self.state}

    def load_checkpoint(self, saved: Any) -> None:
        self.state = saved["state"]


def fit(folder: Path, searcher: TuneBOHB) -> tune.ResultGrid:
    return tune.Tuner(
        Descent,
        param_space={
            "lr": tune.loguniform(1e-5, 1),
            "method": tune.choice([{"name": "plain"}, {"momentum": tune.uniform(0, 1)}]),
        },
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=searcher,
            scheduler=HyperBandForBOHB(max_t=27),
            num_samples=150,
            seed=5,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), executor="inline", verbose=0),
    ).fit()


@pytest.mark.slow
def test_with_hyperband_it_finds_what_is_good(tmp_path: Path) -> None:
    searcher = TuneBOHB()
    results = fit(tmp_path, searcher)
    assert not results.errors
    assert set(searcher._bohb.configs) == {1, 3, 9, 27}
    assert max(searcher._bohb.kde_models) >= 9
    rates = [math.log10(result.config["lr"]) for result in results]
    good = [-2.5 < rate < -1 for rate in rates[-75:]]
    assert sum(good) > 37, "drawn at random, 22 of 75 are as good"
    assert results.get_best_result().metrics["loss"] < 1e-3
