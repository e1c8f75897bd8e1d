"""What every searcher that asks another library does."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from searchers import opened, parameters, run, trials

import tuner as tune
from tuner.errors import ConfigError, SearchSpaceError
from tuner.integrations.library_searcher import LibrarySearcher

EACH = pytest.mark.parametrize("kind", parameters())
CONDITIONAL = {
    "x": tune.uniform(0, 1),
    "net": tune.choice([{"kind": "a"}, {"kind": "b", "depth": tune.randint(1, 4)}]),
}
SPACE = {
    "x": tune.uniform(-1, 2),
    "lr": tune.loguniform(1e-4, 1e-1),
    "step": tune.quniform(0, 1, 0.25),
    "rough": tune.qloguniform(1e-3, 1, 1e-3),
    "n": tune.randint(1, 6),
    "width": tune.lograndint(1, 100),
    "even": tune.qrandint(2, 9, 2),
    "model": {"layers": [tune.randint(1, 3), 16]},
    "constant": 3,
}
CATEGORIES = {
    "act": tune.choice(["relu", "tanh", None]),
    "model": {"size": tune.choice([(1, 2), {"deep": True}])},
}
SQUARE = {"x": tune.uniform(-5, 5), "y": tune.uniform(-5, 5)}
MEDIAN_OF_RANDOM = 17.55  # of `square` over SQUARE


def square(config: dict[str, Any]) -> float:
    return float((config["x"] - 1) ** 2 + (config["y"] + 2) ** 2)


@EACH
def test_values_are_of_their_domains(kind: type[LibrarySearcher]) -> None:
    for config in run(opened(kind, SPACE), lambda config: config["x"], trials(kind) // 2):
        assert config.keys() == SPACE.keys() - {"constant"}
        for name in ("x", "lr", "step", "rough", "n", "width", "even"):
            assert SPACE[name].is_valid(config[name]), name
        assert config["step"] in (0, 0.25, 0.5, 0.75, 1)
        assert config["even"] in (2, 4, 6, 8)
        assert config["rough"] == pytest.approx(round(config["rough"], 3), abs=1e-12)
        assert all(type(config[name]) is int for name in ("n", "width", "even"))
        assert all(type(config[name]) is float for name in ("x", "lr", "step", "rough"))
        assert config["model"]["layers"] in ([1, 16], [2, 16])


@EACH
def test_categories_are_given_as_they_are(kind: type[LibrarySearcher]) -> None:
    space = {**SPACE, **CATEGORIES}
    if not kind.has_categories:
        with pytest.raises(ConfigError, match=r"size=choice\(.*\): .* has no categories"):
            opened(kind, space)
        return
    for config in run(opened(kind, space), lambda config: config["x"], trials(kind) // 2):
        assert config["act"] in ("relu", "tanh", None)
        assert config["model"]["size"] in ((1, 2), {"deep": True})


@EACH
def test_a_seed_decides_everything(kind: type[LibrarySearcher]) -> None:
    count = trials(kind) // 2
    first, second = (run(opened(kind, SQUARE, seed=3), square, count) for _ in range(2))
    assert first == second
    assert run(opened(kind, SQUARE, seed=4), square, count) != first


@EACH
def test_the_users_random_numbers_are_left_alone(kind: type[LibrarySearcher]) -> None:
    import random

    import numpy as np

    random.seed(1)
    np.random.seed(1)
    expected = (random.random(), np.random.random())
    random.seed(1)
    np.random.seed(1)
    run(opened(kind, SQUARE), square, 5)
    assert (random.random(), np.random.random()) == expected


@EACH
def test_a_restored_one_goes_on_as_it_would_have(
    kind: type[LibrarySearcher], tmp_path: Path
) -> None:
    count = trials(kind) // 2
    whole = opened(kind, SQUARE)
    expected = run(whole, square, count)
    stopped = opened(kind, SQUARE)
    run(stopped, square, count - 4)
    stopped.save(tmp_path / "searcher.pkl")
    restored = opened(kind, SQUARE)
    restored.restore(tmp_path / "searcher.pkl")
    assert run(restored, square, 4, first=count - 4) == expected[-4:]
    copy = cloudpickle.loads(cloudpickle.dumps(restored))
    assert copy.suggest("next") == restored.suggest("next") == whole.suggest("next")


GO_ON = """
import sys
import cloudpickle
searcher = cloudpickle.load(open(sys.argv[1], "rb"))
for number in range(3):
    config = searcher.suggest(f"later {number}")
    searcher.on_trial_complete(f"later {number}", {"loss": sum(config.values())})
    print(repr(config), file=sys.stderr)
"""


@EACH
@pytest.mark.slow
def test_another_process_goes_on_as_this_one_would_have(
    kind: type[LibrarySearcher], tmp_path: Path
) -> None:
    """To the last bit, however many threads it has, and in whatever order its sets are."""
    searcher = opened(kind, SQUARE)
    run(searcher, square, trials(kind) // 2)
    (tmp_path / "searcher.pkl").write_bytes(cloudpickle.dumps(searcher))
    expected = []
    for number in range(3):
        config = searcher.suggest(f"later {number}")
        assert isinstance(config, dict)
        searcher.on_trial_complete(f"later {number}", {"loss": sum(config.values())})
        expected.append(repr(config))
    other = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", GO_ON, str(tmp_path / "searcher.pkl")],
        env={**os.environ, **other},
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-3:] == expected


@EACH
def test_a_replay_of_what_was_done_goes_on_as_it_would_have(kind: type[LibrarySearcher]) -> None:
    """A restore of an experiment that has no snapshot does so."""
    count = trials(kind) // 2
    whole = opened(kind, SQUARE)
    expected = run(whole, square, count)
    replayed = opened(kind, SQUARE)
    for number, config in enumerate(expected[:-4]):
        replayed.on_trial_recorded(f"t{number:03d}", config)
        replayed.on_trial_complete(f"t{number:03d}", {"loss": square(config)})
    assert run(replayed, square, 4, first=count - 4) == expected[-4:]


@EACH
def test_the_record_counts_where_the_library_answers_otherwise(
    kind: type[LibrarySearcher], caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restore, if something in it was not seeded; it learns what was really tried."""
    replayed = opened(kind, SQUARE)
    for number in range(6):
        config = {"x": 0.5 * number, "y": -0.25 * number}
        replayed.on_trial_recorded(f"t{number}", {**config, "constant": 3})
        assert replayed._live[f"t{number}"] == config
        replayed.on_trial_complete(f"t{number}", {"loss": square(config)})
    assert caplog.text.count("asked again after a restore") == 1
    assert isinstance(replayed.suggest("next"), dict)


@EACH
def test_what_a_saved_one_knows_serves_another_experiment(
    kind: type[LibrarySearcher], tmp_path: Path
) -> None:
    first = opened(kind, SQUARE)
    run(first, square, 8)
    first.save(tmp_path / "searcher.pkl")
    later = kind()
    later.restore(tmp_path / "searcher.pkl")
    later.set_search_properties("loss", "min", SQUARE, seed=7, num_samples=100)
    assert run(later, square, 3, first=8) == run(first, square, 3, first=8)
    with pytest.raises(ConfigError, match=r"it has searched .*'x'.*, and cannot go on in"):
        later.set_search_properties("loss", "min", {"x": tune.uniform(0, 1)})


@EACH
def test_points_come_first_and_evaluated_ones_are_not_tried(kind: type[LibrarySearcher]) -> None:
    points = [{"x": 1.0, "y": -2.0}, {"x": 0.5, "y": 0.5}, {"y": 4.0}]
    searcher = opened(kind, SQUARE, points_to_evaluate=points, evaluated_rewards=[0.0])
    first, second, *others = run(searcher, square, 6)
    assert first == points[1]
    assert second["y"] == 4.0
    assert -5 <= second["x"] <= 5
    assert points[0] not in others


@EACH
def test_evaluated_points_teach(kind: type[LibrarySearcher]) -> None:
    """What is told beforehand has the effect of own trials, better known places are proposed."""
    points = [{"x": x / 2, "y": y / 2} for x in range(-10, 11, 3) for y in range(-10, 11, 3)]
    told = opened(kind, SQUARE)
    told.add_evaluated_points(points, [square(point) for point in points])
    later = kind(metric="loss", mode="min")
    later.add_evaluated_points(points, [square(point) for point in points])
    later.set_search_properties(None, None, SQUARE, seed=7)
    for searcher in (told, later):
        assert statistics.median(map(square, run(searcher, square, trials(kind) // 4))) < 9


@EACH
def test_it_learns(kind: type[LibrarySearcher]) -> None:
    count = trials(kind)
    configs = run(opened(kind, SQUARE), square, count)
    assert statistics.median(map(square, configs[-count // 4 :])) < 0.6 * MEDIAN_OF_RANDOM


@EACH
def test_the_greatest_of_a_function_is_the_least_of_its_negative(
    kind: type[LibrarySearcher],
) -> None:
    count = trials(kind) // 2
    greatest = run(opened(kind, SQUARE, mode="max"), lambda config: -square(config), count)
    assert greatest == run(opened(kind, SQUARE), square, count)


@EACH
def test_trials_without_a_value_do_no_harm(kind: type[LibrarySearcher]) -> None:
    searcher = opened(kind, SQUARE)
    endings: list[tuple[Any, bool]] = [
        ({"loss": math.nan}, False),
        ({"loss": math.inf}, False),
        ({"loss": Decimal("nan")}, False),
        ({"other": 1}, False),
        (None, True),
        ({"loss": 1.0}, True),
        ({"loss": "text"}, False),
    ]
    for number, (result, failed) in enumerate(endings):
        assert isinstance(searcher.suggest(f"f{number}"), dict)
        searcher.on_trial_complete(f"f{number}", result, error=failed)
    searcher.on_trial_complete("unknown", {"loss": 1.0})
    searcher.add_evaluated_point({"x": 0.0, "y": 0.0}, math.nan)
    configs = run(searcher, square, trials(kind))
    assert statistics.median(map(square, configs[-trials(kind) // 4 :])) < 10


@EACH
def test_a_metric_that_nobody_reports_is_an_error(kind: type[LibrarySearcher]) -> None:
    searcher = opened(kind, SQUARE)
    searcher.suggest("t")
    with pytest.raises(ConfigError, match=r"metric='loss'\): trial t did not .* mean 'los'\?"):
        searcher.on_trial_complete("t", {"los": 1.0})
    lenient = kind()
    lenient.set_search_properties("loss", "min", SQUARE, strict_metric_checking=False)
    lenient.suggest("t")
    lenient.on_trial_complete("t", {"los": 1.0})
    lenient.on_trial_complete("t", {"los": 1.0})


@EACH
def test_several_trials_at_a_time(kind: type[LibrarySearcher]) -> None:
    searcher = opened(kind, SQUARE)
    configs: dict[str, Any] = {}
    for number in range(trials(kind)):
        config = searcher.suggest(f"t{number}")
        if isinstance(config, dict):
            configs[f"t{number}"] = config
        if len(configs) > 4 or config is None:
            for name in [*configs][::-1]:  # the last one is the first to end
                searcher.on_trial_complete(name, {"loss": square(configs.pop(name))})
    assert all(SQUARE["x"].is_valid(config["x"]) for config in configs.values())


@EACH
def test_parameters_within_categories(kind: type[LibrarySearcher]) -> None:
    if not kind.has_conditions:
        with pytest.raises(ConfigError, match=r"net#1/depth=randint\(1, 4\): .* choice \(net\)"):
            opened(kind, CONDITIONAL)
        return
    point = {"x": 0.5, "net": {"kind": "b", "depth": 2}}
    searcher = opened(kind, CONDITIONAL, points_to_evaluate=[point])
    configs = run(searcher, lambda config: config["x"], 20)
    assert configs[0] == point
    kinds = {config["net"]["kind"] for config in configs}
    assert kinds == {"a", "b"}
    for config in configs:
        assert ("depth" in config["net"]) == (config["net"]["kind"] == "b")


@EACH
def test_functions_are_called_by_the_experiment(kind: type[LibrarySearcher]) -> None:
    space = {"x": tune.uniform(0, 1), "y": tune.sample_from(lambda spec: spec.config.x * 2)}
    assert run(opened(kind, space), lambda config: config["x"], 2)[0].keys() == {"x"}


@EACH
def test_what_cannot_be_expressed_is_named(kind: type[LibrarySearcher]) -> None:
    with pytest.raises(SearchSpaceError, match=r"x=.*grid search"):
        opened(kind, {"x": tune.grid_search([1, 2])})
    with pytest.raises(SearchSpaceError, match="'z' is not in the search space"):
        opened(kind, SQUARE, points_to_evaluate=[{"z": 1}]).suggest("t")
    with pytest.raises(SearchSpaceError, match=r"x=6 is not in uniform\(-5.0, 5.0\)"):
        opened(kind, SQUARE, points_to_evaluate=[{"x": 6}], evaluated_rewards=[1.0])
    with pytest.raises(ConfigError, match="evaluated_rewards has 1 values for 0"):
        kind(metric="loss", mode="min", evaluated_rewards=[1.0])
    for points in ([0.5], {"x": 0.5}):
        with pytest.raises(ConfigError, match=r"points_to_evaluate=.*give a list of dicts"):
            opened(kind, SQUARE, points_to_evaluate=points)
    for seed in (-1, "a", 0.5):
        with pytest.raises(ConfigError, match=r"seed=.*use a whole number >= 0"):
            opened(kind, SQUARE, seed=seed)
    opened(kind, SQUARE, seed=2**70).suggest("t")
    with pytest.raises(SearchSpaceError, match=r"k=4 is not the search space's constant 3"):
        opened(kind, {**SQUARE, "k": 3}, points_to_evaluate=[{"x": 0.5, "k": 4}])
    with pytest.raises(ConfigError, match="nothing to search for"):
        opened(kind, {"x": 0.5})
    with pytest.raises(ConfigError, match="metric and mode are needed"):
        kind().set_search_properties(None, None, SQUARE)


@EACH
def test_it_is_imported_when_it_is_asked(kind: type[LibrarySearcher]) -> None:
    code = (
        f"import sys; from {kind.__module__} import {kind.__name__} as kind; "
        "kind(metric='loss', mode='min'); "
        "print(sorted({kind.module, 'ConfigSpace', 'sklearn', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"[]\n"


@EACH
def test_in_an_experiment(kind: type[LibrarySearcher], tmp_path: Path) -> None:
    grid = tune.Tuner(
        lambda config: {"loss": square(config) + config["k"]},
        param_space={**SQUARE, "k": 0},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=6,
            search_alg=kind(),
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert grid.errors == []
    assert len({(result.config["x"], result.config["y"]) for result in grid}) == 6
