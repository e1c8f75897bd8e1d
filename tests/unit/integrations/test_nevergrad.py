"""What NevergradSearch does beyond the contract of all searchers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import tuner as tune
from tuner.errors import ConfigError, SearchSpaceError
from tuner.integrations.nevergrad import NevergradSearch

ng = pytest.importorskip("nevergrad")
from searchers import opened, run  # noqa: E402

SQUARE = {"x": tune.uniform(-5, 5), "y": tune.loguniform(0.1, 10)}


def square(config: dict[str, Any]) -> float:
    return float((config["x"] - 1) ** 2 + (config["y"] - 2) ** 2)


def theirs() -> Any:
    return ng.p.Dict(x=ng.p.Scalar(lower=-5, upper=5), y=ng.p.Log(lower=0.1, upper=10))


def of_nevergrad(optimizer: Any, count: int) -> list[dict[str, Any]]:
    """What an optimizer tries, used directly."""
    configs = []
    for _ in range(count):
        candidate = optimizer.ask()
        configs.append(candidate.value)
        optimizer.tell(candidate, square(candidate.value))
    return configs


def native(space: Any = None, **arguments: Any) -> NevergradSearch:
    searcher = NevergradSearch(**{"space": space, "metric": "loss", "mode": "min", **arguments})
    assert not searcher.set_search_properties(None, None, {}, seed=7)
    return searcher


@pytest.mark.parametrize(
    ("given", "factory"),
    [
        ("OnePlusOne", ng.optimizers.OnePlusOne),
        (ng.optimizers.CMA, ng.optimizers.CMA),
        (ng.optimizers.TwoPointsDE, ng.optimizers.TwoPointsDE),
        (ng.optimizers.DifferentialEvolution(popsize=12), None),
        (None, ng.optimizers.registry["NGOptBase"]),
    ],
    ids=["name", "class", "configured", "configured here", "default"],
)
def test_it_proposes_what_the_optimizer_alone_proposes(given: Any, factory: Any) -> None:
    parametrization = theirs()
    parametrization.random_state.seed(7)
    alone = (factory or given)(parametrization, budget=100, num_workers=2)
    expected = of_nevergrad(alone, 30)
    configs = run(opened(NevergradSearch, SQUARE, optimizer=given), square, 30)
    assert [config["x"] for config in configs] == pytest.approx([each["x"] for each in expected])
    assert [config["y"] for config in configs] == pytest.approx([each["y"] for each in expected])
    assert configs == run(native(theirs(), optimizer=given, seed=7), square, 30)


@pytest.mark.parametrize(
    ("kwargs", "num_samples", "made"),
    [
        ({}, 30, (30, 2)),
        ({}, -1, (100, 2)),
        ({"num_workers": 4}, 30, (30, 4)),
        ({"budget": 9}, 30, (9, 2)),
    ],
)
def test_the_budget_is_the_number_of_trials(
    kwargs: dict[str, int], num_samples: int, made: tuple[int, int]
) -> None:
    searcher = NevergradSearch("OnePlusOne", kwargs, metric="loss", mode="min")
    searcher.set_search_properties(None, None, SQUARE, num_samples=num_samples)
    assert (searcher._optimizer.budget, searcher._optimizer.num_workers) == made


@pytest.mark.parametrize("fails", [False, True])
def test_an_optimizer_that_knows_one_trial_at_a_time(fails: bool) -> None:
    searcher = opened(NevergradSearch, SQUARE, optimizer="Cobyla")
    first = searcher.suggest("first")
    assert isinstance(first, dict)
    assert searcher.suggest("second") is None
    searcher.on_trial_complete("first", {"loss": 2.0}, error=fails)
    configs = run(searcher, square, 12)
    assert min(map(square, configs)) < 1
    with pytest.raises(ValueError, match="picklability"):
        cloudpickle.dumps(searcher)

    replayed = opened(NevergradSearch, SQUARE, optimizer="Cobyla")
    assert replayed.on_trial_recorded("first", first)
    replayed.on_trial_complete("first", {"loss": 2.0}, error=fails)
    assert run(replayed, square, 12) == configs


def test_an_optimizer_with_a_thread_lets_python_end() -> None:
    code = """
from tuner import uniform
from tuner.integrations.nevergrad import NevergradSearch
searcher = NevergradSearch("Cobyla", metric="loss", mode="min")
searcher.set_search_properties(None, None, {"x": uniform(-5, 5)})
print(searcher.suggest("t"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=240
    )
    assert done.stdout == "{'x': 0.0}\n"


def test_nobody_is_warned_of_what_the_optimizers_do(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    searcher = NevergradSearch(metric="loss", mode="min")
    searcher.set_search_properties(None, None, {**SQUARE, "z": tune.uniform(0, 1)}, num_samples=-1)
    searcher.suggest("t0")
    for number in range(60):
        config = searcher.suggest(f"t{number + 1}")
        assert isinstance(config, dict)
        searcher.on_trial_complete(f"t{number}", {"loss": square(config)})
    run(opened(NevergradSearch, {"x": tune.uniform(0, 1)}), lambda config: config["x"], 60)
    # What other tests left open may be collected meanwhile.
    assert not [str(each.message) for each in recwarn if each.category is not ResourceWarning]


def test_several_objectives() -> None:
    space = {"x": tune.uniform(-5, 5), "y": tune.uniform(-5, 5)}
    searcher = opened(NevergradSearch, space, metric=["a", "b"], mode=["min", "max"])
    searcher.suggest("failed")
    searcher.on_trial_complete("failed", {"a": 1.0}, error=True)
    found = []
    for number in range(150):
        config = searcher.suggest(f"t{number}")
        assert isinstance(config, dict)
        x, y = config["x"], config["y"]
        result = {"a": (x - 1) ** 2 + y**2, "b": -((x + 1) ** 2) - y**2}
        searcher.on_trial_complete(f"t{number}", result)
        found.append(result)
        if number == 50:
            searcher = cloudpickle.loads(cloudpickle.dumps(searcher))
    # On the Pareto front, y is 0 and x between -1 and 1, so that the roots of both add up to 2.
    distances = [result["a"] ** 0.5 + (-result["b"]) ** 0.5 - 2 for result in found]
    assert statistics.median(distances[-50:]) < statistics.median(distances[:50]) / 2


def test_spaces_of_nevergrad_itself() -> None:
    inner = ng.p.Choice([ng.p.Scalar(lower=0, upper=1), "none"])
    space = ng.p.Dict(x=ng.p.Scalar(lower=-5, upper=5), y=ng.p.Log(lower=0.1, upper=10), z=inner)
    point = {"x": 1.5, "y": 0.5, "z": "none"}
    searcher = native(space, points_to_evaluate=[point, point], evaluated_rewards=[2.0])
    searcher.add_evaluated_point({**point, "more": 1}, 1.0)
    configs = run(searcher, square, 12)
    assert configs[0] == point
    assert all(config.keys() == point.keys() for config in configs)

    by_name = ng.p.Instrumentation(x=ng.p.Scalar(lower=-5, upper=5), y=ng.p.Scalar(init=2))
    config = {"x": 0.5, "y": 1.0}
    assert run(native(by_name, points_to_evaluate=[config]), square, 4)[0] == config

    for parametrization in (
        ng.p.Array(shape=(2,)).set_bounds(-5, 5),
        ng.p.Tuple(ng.p.Scalar(), ng.p.Scalar()),
        ng.p.Instrumentation(ng.p.Scalar(), y=ng.p.Scalar()),
    ):
        optimizer = ng.optimizers.OnePlusOne(parametrization, budget=20)
        names = ["x", "y"][: 1 if isinstance(parametrization, ng.p.Instrumentation) else 2]
        searcher = native(names, optimizer=optimizer, points_to_evaluate=[config])
        assert [each.keys() for each in run(searcher, square, 3)] == [config.keys()] * 3
        assert (optimizer.num_ask, optimizer.num_tell) == (2, 3)

    whole = ng.p.Array(init=[1.0, 2.0]).set_integer_casting()
    for array, kind in ((ng.p.Array(shape=(2,)), float), (whole, int)):
        searcher = native(["x", "y"], optimizer=ng.optimizers.OnePlusOne(array, budget=20))
        for config in run(searcher, square, 3):
            assert {type(each) for each in config.values()} == {kind}


def test_an_optimizer_with_names_of_its_own() -> None:
    parametrization = theirs()
    parametrization.random_state.seed(3)
    configs = run(native(optimizer=ng.optimizers.CMA(parametrization, budget=20)), square, 10)
    parametrization = theirs()
    parametrization.random_state.seed(3)
    assert configs == of_nevergrad(ng.optimizers.CMA(parametrization, budget=20), 10)


def test_normal_distributions_and_single_values() -> None:
    space = {
        "x": tune.randn(10, 2),
        "q": tune.qrandn(0, 3, 0.2),
        "fixed": tune.randn(4, 0),
        "one": tune.uniform(3, 3),
        "only": tune.choice(["only"]),
        "n": tune.randint(5, 6),
    }
    points = [{"x": 9.0, "q": 0.2, "fixed": 4.0, "one": 3.0, "only": "only", "n": 5}]
    searcher = opened(NevergradSearch, space, optimizer="RandomSearch", points_to_evaluate=points)
    configs = run(searcher, lambda config: config["x"], 200)
    assert configs[0] == points[0]
    xs = [config["x"] for config in configs[1:]]
    assert statistics.mean(xs) == pytest.approx(10, abs=0.5)
    assert statistics.stdev(xs) == pytest.approx(2, rel=0.2)
    assert all(config["q"] == round(config["q"], 1) for config in configs)
    same = {(each["fixed"], each["one"], each["only"], each["n"]) for each in configs}
    assert same == {(4.0, 3.0, "only", 5)}


def test_whole_numbers_are_equally_likely() -> None:
    space = {"few": tune.randint(0, 3), "many": tune.qrandint(0, 60, 5)}
    searcher = opened(NevergradSearch, space, optimizer="RandomSearch")
    configs = run(searcher, lambda config: 0.0, 300)
    for name, least, values in (("few", 70, range(3)), ("many", 8, range(0, 61, 5))):
        drawn = [config[name] for config in configs]
        assert set(drawn) == set(values)
        assert all(drawn.count(value) >= least for value in values)


def test_values_at_the_bounds_can_be_told() -> None:
    space = {
        "x": tune.uniform(-0.3, 0.7),
        "lr": tune.loguniform(1e-7, 0.3),
        "n": tune.lograndint(1, 1000),
        "q": tune.qrandint(3, 50, 4),
    }
    searcher = opened(NevergradSearch, space, optimizer="OnePlusOne")
    searcher.add_evaluated_points(
        [{"x": -0.3, "lr": 1e-7, "n": 1, "q": 4}, {"x": 0.7, "lr": 0.3, "n": 999, "q": 48}],
        [2.0, 1.0],
    )
    best = searcher._optimizer.recommend()  # type: ignore[attr-defined]
    told = searcher._ours(best.value)  # type: ignore[attr-defined]
    assert told == pytest.approx({"x": 0.7, "lr": 0.3, "n": 999, "q": 48})


def test_parameters_within_categories_can_be_told() -> None:
    net = {
        "kind": "b",
        "w": tune.uniform(0, 1),
        "act": tune.choice(["r", {"t": tune.randint(0, 9)}]),
    }
    searcher = opened(NevergradSearch, {"net": tune.choice([{"kind": "a"}, net])})
    searcher.add_evaluated_point({"net": {"kind": "a"}}, 2.0)
    searcher.add_evaluated_point({"net": {"kind": "b", "w": 0.5, "act": "r"}}, 1.0)
    searcher.add_evaluated_point({"net": {"kind": "b", "w": 0.5, "act": {"t": 3}}}, 0.3)
    told = searcher._ours(searcher._optimizer.recommend().value)  # type: ignore[attr-defined]
    assert told == {"net": 1, "net#1/w": 0.5, "net#1/act": 1, "net#1/act#1/t": 3}


def test_what_an_optimizer_does_not_learn_from_is_said(caplog: pytest.LogCaptureFixture) -> None:
    searcher = opened(NevergradSearch, SQUARE, optimizer="EDA")
    searcher.add_evaluated_point({"x": 1.0, "y": 1.0}, 0.5)
    assert "EDA learns from its own proposals only, not from {'x': 1.0, 'y': 1.0}" in caplog.text


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"optimizer='OnePlusTwo' is none of .*OnePlusOne"):
        NevergradSearch("OnePlusTwo")
    with pytest.raises(ConfigError, match=r"optimizer=3: give a name, a class"):
        NevergradSearch(3)
    optimizer = ng.optimizers.OnePlusOne(2, budget=10)
    with pytest.raises(ConfigError, match=r"optimizer_kwargs=.*'budget': 3.*made already"):
        NevergradSearch(optimizer, {"budget": 3})
    for made in (None, "TwoPointsDE", ng.optimizers.CMA, ng.optimizers.ParametrizedCMA()):
        with pytest.raises(ConfigError, match=r"has 'budge',.* num_workers.*mean 'budget'"):
            opened(NevergradSearch, SQUARE, optimizer=made, optimizer_kwargs={"budge": 3})
    with pytest.raises(SearchSpaceError, match=r"must be a Dict .*a name for each"):
        native(["x"], optimizer=optimizer)
    with pytest.raises(SearchSpaceError, match=r"has a parametrization already"):
        native(theirs(), optimizer=optimizer)
    with pytest.raises(SearchSpaceError, match=r"must be a Dict"):
        native(ng.p.Scalar())
    with pytest.raises(SearchSpaceError, match=r"the point .* must have all of \['x', 'y'\]"):
        native(theirs(), points_to_evaluate=[{"x": 1.0}]).suggest("t")
    with pytest.raises(ConfigError, match="nothing to search for"):
        opened(NevergradSearch, {"x": 3})


def test_a_space_of_nevergrad_in_an_experiment(tmp_path: Path) -> None:
    grid = tune.Tuner(
        lambda config: {"loss": square(config) + config["k"]},
        param_space={"k": 1},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=5,
            max_concurrent_trials=1,
            search_alg=NevergradSearch("OnePlusOne", space=theirs(), seed=3),
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert grid.errors == []
    parametrization = theirs()
    parametrization.random_state = np.random.RandomState(3)
    alone = ng.optimizers.OnePlusOne(parametrization, budget=5, num_workers=2)
    expected = [{"k": 1, **config} for config in of_nevergrad(alone, 5)]
    assert [result.config for result in grid] == expected
