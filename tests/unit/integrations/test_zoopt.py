"""What only ZOOptSearch has."""

from __future__ import annotations

from typing import Any

import pytest
from searchers import opened, run

import tuner as tune
from tuner.errors import ConfigError
from tuner.search import Searcher

zoopt = pytest.importorskip("zoopt")
from tuner.integrations.zoopt import ZOOptSearch  # noqa: E402

SQUARE = {"x": tune.uniform(-5, 5), "y": tune.uniform(-5, 5)}
NATIVE = {
    "width": (zoopt.ValueType.GRID, [8, 16, "wide"]),
    "model/height": (zoopt.ValueType.CONTINUOUS, [-10, 10], 1e-2),
    "layers": (zoopt.ValueType.DISCRETE, [1, 4], True),
    "kind": (zoopt.ValueType.DISCRETE, [0, 2], False),
}


def square(config: dict[str, Any]) -> float:
    return float((config["x"] - 1) ** 2 + (config["y"] + 2) ** 2)


def test_dimensions_of_zoopt() -> None:
    searcher = ZOOptSearch(dim_dict=NATIVE, metric="loss", mode="min", budget=50)
    assert not searcher.set_search_properties(None, None, {"constant": 1}, seed=7)

    def loss(config: dict[str, Any]) -> float:
        wide, three = config["width"] == "wide", config["layers"] == 3
        return abs(config["model"]["height"] - 1.5) + 5 * (not wide) + 5 * (not three)

    configs = run(searcher, loss, 150)
    assert {config["width"] for config in configs} == {8, 16, "wide"}
    assert {config["layers"] for config in configs} == {1, 2, 3, 4}
    assert {config["kind"] for config in configs} == {0, 1, 2}
    heights = [config["model"]["height"] for config in configs]
    assert all(-10 <= height <= 10 and round(height, 2) == height for height in heights)
    assert min(map(loss, configs)) < 0.5
    other = ZOOptSearch(dim_dict={"x": (7, [1, 2])}, metric="loss", mode="min")
    with pytest.raises(ConfigError, match=r"dim_dict: x=\(7, \[1, 2\]\) must be as"):
        other.set_search_properties(None, None, {})


def test_a_tuple_in_the_param_space_is_no_dimension() -> None:
    searcher = opened(ZOOptSearch, {"x": tune.uniform(0, 1), "shape": (2, [8, 16])})
    assert run(searcher, lambda config: config["x"], 1)[0].keys() == {"x"}


@pytest.mark.parametrize(("num_samples", "num_first"), [(1, 4), (60, 6), (500, 12), (-1, 12)])
def test_the_budget_says_how_many_are_random(num_samples: int, num_first: int) -> None:
    """All others are one parameter away from the best of those before."""
    searcher = ZOOptSearch(metric="loss", mode="min", exploration_rate=0)
    searcher.set_search_properties(None, None, SQUARE, seed=1, num_samples=num_samples)
    configs = run(searcher, square, 30)  # more than there are in the smallest budget
    best = [sorted(configs[:n], key=square)[:2] for n in range(1, 30)]
    near = [
        any(config["x"] == each["x"] or config["y"] == each["y"] for each in before)
        for config, before in zip(configs[1:], best, strict=True)
    ]
    assert near == [False] * (num_first - 1) + [True] * (30 - num_first)


def test_after_the_first_ones_parallel_num_run_at_a_time() -> None:
    searcher = opened(ZOOptSearch, SQUARE, budget=20, parallel_num=2)
    first = [searcher.suggest(f"first {n}") for n in range(4)]
    assert all(isinstance(config, dict) for config in first)
    assert searcher.suggest("too early") is None
    for n, config in enumerate(first):
        assert isinstance(config, dict)
        searcher.on_trial_complete(f"first {n}", {"loss": square(config)}, error=n == 3)
    for name in "ab":
        assert isinstance(searcher.suggest(name), dict)
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", error=True)
    assert isinstance(searcher.suggest("c"), dict)


def test_a_small_space_is_tried_once() -> None:
    space = {"a": tune.choice(["u", "v"]), "n": tune.randint(0, 2)}
    searcher = opened(ZOOptSearch, space, points_to_evaluate=[{"a": "u", "n": 0}] * 3)
    tried = []
    for number in range(20):
        config = searcher.suggest(f"t{number}")
        if config == Searcher.FINISHED:
            break
        assert isinstance(config, dict)
        tried.append((config["a"], config["n"]))
        searcher.on_trial_complete(f"t{number}", {"loss": config["n"]})
    assert config == Searcher.FINISHED
    assert len(set(tried)) == 4
    assert len(tried) == 4 + 2  # those that were asked for twice more


def test_choices_alone() -> None:
    """ZOOpt's sampler may run endlessly on these if it is told of one twice."""
    space = {name: tune.choice([1, 2, 3, 4]) for name in "abcde"}
    searcher = opened(ZOOptSearch, space, budget=200, parallel_num=3)
    configs, running = [], {}
    for number in range(300):
        config = searcher.suggest(f"t{number}")
        if isinstance(config, dict):
            running[f"t{number}"] = config
            configs.append(config)
        if config is None or len(running) == 3:
            for name in [*running]:
                searcher.on_trial_complete(name, {"loss": sum(running.pop(name).values())})
    assert min(sum(config.values()) for config in configs) == 5


def test_it_goes_on_where_a_box_has_nothing_new(capsys: pytest.CaptureFixture[str]) -> None:
    """ZOOpt ends there, and prints why."""
    searcher = opened(ZOOptSearch, {"a": tune.randint(0, 6), "b": tune.randint(0, 6)}, budget=60)
    configs = run(searcher, lambda config: abs(config["a"] - 4) + abs(config["b"] - 1), 60)
    assert {"a": 4, "b": 1} in configs
    assert capsys.readouterr().out == ""


def test_two_at_a_time_keep_their_precisions() -> None:
    """ZOOpt has them in a global variable."""
    alone = run(opened(ZOOptSearch, SQUARE), square, 12)
    first = opened(ZOOptSearch, SQUARE)
    second = opened(ZOOptSearch, {"n": tune.randint(0, 5)})
    together = []
    for number in range(12):
        together += run(first, square, 1, first=number)
        if number < 5:
            run(second, lambda config: config["n"], 1, first=number)
    assert together == alone


def test_arguments_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"algo='racos' must be one of 'asracos'"):
        ZOOptSearch(algo="racos")
    assert ZOOptSearch(algo="Asracos").library == "ZOOpt"
    with pytest.raises(ConfigError, match="budget"):
        ZOOptSearch(budget=0)
    with pytest.raises(ConfigError, match="parallel_num"):
        ZOOptSearch(parallel_num=0)
    with pytest.raises(ConfigError, match=r"zoopt\.Parameter: .*'exploration'"):
        opened(ZOOptSearch, SQUARE, exploration=0.1)
