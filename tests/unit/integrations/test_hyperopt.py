"""What HyperOptSearch does beyond the contract of all searchers."""

from __future__ import annotations

import math
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner as tune
from tuner.errors import ConfigError, SearchSpaceError
from tuner.integrations.hyperopt import HyperOptSearch

hyperopt = pytest.importorskip("hyperopt")
from hyperopt import hp  # noqa: E402
from hyperopt.pyll import scope  # noqa: E402
from searchers import opened, run  # noqa: E402

NATIVE = {
    "x": hp.uniform("x", -5, 5),
    "rate": hp.lognormal("log rate", 0, 1),
    "n": scope.int(hp.quniform("n", 1, 8, 1)),
    "shape": [hp.randint("rows", 3), 7],
    "net": hp.choice(
        "net",
        [
            {"kind": "linear"},
            {"kind": "tree", "depth": hp.uniformint("depth", 1, 5)},
            {"kind": "mix", "of": hp.pchoice("of", [(0.9, "a"), (0.1, "b")])},
        ],
    ),
}


def loss(config: dict[str, Any]) -> float:
    return float((config["x"] - 1) ** 2) + (config["net"]["kind"] != "tree")


def of_fmin(function: Any, space: Any, count: int, **arguments: Any) -> list[dict[str, Any]]:
    """The configurations that HyperOpt's own `fmin` tries."""
    configs: list[dict[str, Any]] = []

    def noted(config: dict[str, Any]) -> Any:
        configs.append(config)
        return function(config)

    hyperopt.fmin(
        noted,
        space,
        algo=partial(hyperopt.tpe.suggest, **arguments),
        max_evals=count,
        rstate=np.random.default_rng(3),
        verbose=False,
    )
    return configs


def native(**arguments: Any) -> HyperOptSearch:
    searcher = HyperOptSearch(**{"space": NATIVE, "metric": "loss", "mode": "min", **arguments})
    assert not searcher.set_search_properties(None, None, {}, seed=3)
    return searcher


def test_it_proposes_what_fmin_proposes() -> None:
    tree = {"kind": "tree", "depth": hp.normal("net#1/depth", 1, 2)}
    theirs = {
        "x": hp.uniform("x", -5, 5),
        "lr": hp.loguniform("lr", math.log(1e-4), math.log(1e-1)),
        "step": hp.quniform("step", 0, 1, 0.25),
        "net": hp.choice("net", [{"kind": "a"}, tree]),
    }
    ours = {
        "x": tune.uniform(-5, 5),
        "lr": tune.loguniform(1e-4, 1e-1),
        "step": tune.quniform(0, 1, 0.25),
        "net": tune.choice([{"kind": "a"}, {"kind": "tree", "depth": tune.randn(1, 2)}]),
    }
    options: dict[str, Any] = {"gamma": 0.4}
    expected = of_fmin(loss, theirs, 40, n_startup_jobs=10, **options)
    searcher = opened(HyperOptSearch, ours, n_initial_points=10, random_state_seed=3, **options)
    assert run(searcher, loss, 40) == expected
    assert run(native(), loss, 40) == of_fmin(loss, NATIVE, 40)


def test_failed_trials_are_failures_to_it() -> None:
    def fails(config: dict[str, Any]) -> bool:
        return bool(config["x"] > 2)

    def outcome(config: dict[str, Any]) -> dict[str, Any]:
        if fails(config):
            return {"status": hyperopt.STATUS_FAIL}
        return {"status": hyperopt.STATUS_OK, "loss": loss(config)}

    expected = of_fmin(outcome, NATIVE, 35)
    assert any(map(fails, expected))
    searcher = native()
    configs = run(searcher, lambda config: None if fails(config) else loss(config), 35)
    assert configs == expected


def test_normal_distributions() -> None:
    space = {"x": tune.randn(10, 2), "q": tune.qrandn(0, 3, 0.2), "fixed": tune.randn(4, 0)}
    configs = run(opened(HyperOptSearch, space), lambda config: abs(config["x"] - 14), 60)
    xs = [config["x"] for config in configs]
    assert statistics.mean(xs[:20]) == pytest.approx(10, abs=2)
    assert statistics.median(xs[-20:]) > 12
    assert all(config["q"] == round(config["q"], 1) for config in configs)
    assert len({config["q"] for config in configs}) > 10
    assert {config["fixed"] for config in configs} == {4.0}


def test_a_domain_of_one_value() -> None:
    space = {"x": tune.uniform(3, 3), "y": tune.uniform(0, 1), "z": tune.choice(["only"])}
    searcher = opened(HyperOptSearch, space, points_to_evaluate=[{"x": 3.0, "y": 0.5}])
    for config in run(searcher, lambda config: config["y"], 25):
        assert (config["x"], config["z"]) == (3.0, "only")


def test_whole_numbers_are_ordered_and_equally_likely() -> None:
    searcher = opened(HyperOptSearch, {"n": tune.randint(0, 3)}, n_initial_points=300)
    drawn = [config["n"] for config in run(searcher, lambda config: 0.0, 300)]
    assert all(drawn.count(n) > 70 for n in range(3))
    told = range(5, 1000, 10)
    searcher = opened(HyperOptSearch, {"n": tune.randint(0, 1000)})
    searcher.add_evaluated_points([{"n": n} for n in told], [abs(n - 700) for n in told])
    proposed = [config["n"] for config in run(searcher, lambda config: abs(config["n"] - 700), 20)]
    assert statistics.median(abs(n - 700) for n in proposed) < 100
    assert len(set(proposed) - set(told)) > 10


def test_points_of_a_space_of_expressions() -> None:
    points = [
        {"x": 1.0, "rate": 1.5, "n": 2, "shape": (1, 7), "net": {"kind": "tree", "depth": 3}},
        {"x": 2.0, "rate": 0.5, "n": 8, "shape": (0, 7), "net": {"kind": "mix", "of": "b"}},
    ]
    searcher = native(points_to_evaluate=[points[0], *points], evaluated_rewards=[0.0])
    searcher.add_evaluated_point({**points[1], "more": 1}, 2.0)
    configs = run(searcher, loss, 22)
    assert configs[:2] == points
    assert configs[2] not in points
    point = points[0]
    for wrong in (
        {key: point[key] for key in ("x", "rate", "n", "shape")},
        {**point, "more": 1},
        {**point, "net": {"kind": "forest"}},
        {**point, "shape": (1, 7, 7)},
        {**point, "shape": 3},
    ):
        with pytest.raises(SearchSpaceError, match=r"the point .* is none of the space"):
            native(points_to_evaluate=[wrong]).suggest("t")


@pytest.mark.parametrize(
    ("expression", "inside", "outside"),
    [
        (hp.uniform("a", 0, 1), [0, 0.5, 1.0], [7, -0.1, "abc", True, None, math.nan]),
        (hp.uniform("a", low=-1, high=1), [-1, 1], [1.1]),
        (hp.quniform("a", 1, 8, 3), [0, 3, 9], [-3, 10]),
        (hp.loguniform("a", math.log(1e-4), math.log(0.1)), [1e-4, 0.1], [0, 1e-5, 0.11, -2.3]),
        (hp.qloguniform("a", 0, math.log(5), 2), [0, 4], [8, -2]),
        (hp.uniformint("a", 1, 5), [1, 5, 3.0], [0, 6, 2.5, "abc"]),
        (hp.randint("a", 3), [0, 2], [3, -1, 0.5]),
        (hp.randint("a", 2, 7), [2, 6], [1, 7]),
        (hp.normal("a", 0, 1), [-9, 9], ["abc", math.inf]),
        (hp.qnormal("a", 0, 1, 2), [-4], [[1]]),
        (hp.lognormal("a", 0, 1), [0.1, 9], [0, -1]),
        (hp.qlognormal("a", 0, 1, 2), [0, 2], [-2]),
        (hp.choice("a", [1, 2]), [1, 2], [0, 3]),
        (hp.pchoice("a", [(0.5, 1), (0.5, 2)]), [1, 2], [0, 3]),
    ],
    ids=lambda value: value.pos_args[0].name if hasattr(value, "pos_args") else "",
)
def test_points_that_an_expression_cannot_give_are_refused(
    expression: Any, inside: list[Any], outside: list[Any]
) -> None:
    for value in inside:
        searcher = native(space={"a": expression}, points_to_evaluate=[{"a": value}])
        assert searcher.suggest("t") == {"a": pytest.approx(value)}
    for value in outside:
        with pytest.raises(SearchSpaceError, match=r"the point .*'a': .* is none of the space"):
            native(space={"a": expression}, points_to_evaluate=[{"a": value}])


def test_spaces_that_cannot_be() -> None:
    with pytest.raises(SearchSpaceError, match=r"uniform\(0\.0, 1\.0\) stands among expressions"):
        native(space={"x": hp.uniform("x", 0, 1), "y": [tune.uniform(0, 1)]})
    with pytest.raises(ConfigError, match="two parameters have the label x"):
        native(space={"x": hp.uniform("x", 0, 1), "y": hp.uniform("x", 0, 1)})
    with pytest.raises(SearchSpaceError, match=r"space gives 0\.\d+, and .* must be a dict"):
        native(space=hp.uniform("x", 0, 1)).suggest("t")
    with pytest.raises(ConfigError, match="seed=1 and random_state_seed=2: give one of them"):
        HyperOptSearch(seed=1, random_state_seed=2)
    assert run(native(seed=1), loss, 3) == run(native(random_state_seed=1), loss, 3)


@pytest.mark.parametrize("as_param_space", [False, True])
def test_a_space_of_expressions_in_an_experiment(tmp_path: Path, as_param_space: bool) -> None:
    grid = tune.Tuner(
        lambda config: {"loss": loss(config) + config["k"]},
        param_space={"k": 1, **(NATIVE if as_param_space else {})},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=5,
            max_concurrent_trials=1,
            search_alg=HyperOptSearch(None if as_param_space else NATIVE, seed=3),
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert grid.errors == []
    expected = [{"k": 1, **config} for config in of_fmin(loss, NATIVE, 5)]
    assert [result.config for result in grid] == expected
