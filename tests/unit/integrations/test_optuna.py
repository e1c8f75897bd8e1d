"""What OptunaSearch does beyond the contract of all searchers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import tuner as tune
from tuner.errors import ConfigError, SearchSpaceError
from tuner.integrations.optuna import OptunaSearch

optuna = pytest.importorskip("optuna")
from searchers import opened, run  # noqa: E402

SPACE = {
    "x": tune.uniform(-5, 5),
    "lr": tune.loguniform(1e-4, 1e-1),
    "n": tune.randint(1, 9),
    "kind": tune.choice(["a", "b"]),
}


def loss(config: dict[str, Any]) -> float:
    return float((config["x"] - 1) ** 2 + abs(math.log10(config["lr"]) + 2) + config["n"] / 10)


def suggested(trial: Any) -> dict[str, Any]:
    """The same space, define by run."""
    return {
        "x": trial.suggest_float("x", -5, 5),
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "n": trial.suggest_int("n", 1, 8),
        "kind": trial.suggest_categorical("kind", ["a", "b"]),
    }


def of_optuna(sampler: Any, count: int) -> list[dict[str, Any]]:
    """The configurations that Optuna's own `optimize` tries."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: loss(suggested(trial)), n_trials=count)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", ["TPESampler", "CmaEsSampler", "GPSampler", "RandomSampler"])
def test_it_proposes_what_optuna_proposes(name: str) -> None:
    count = 12 if name == "GPSampler" else 30
    kind = getattr(optuna.samplers, name)
    searcher = opened(OptunaSearch, SPACE, sampler=kind(seed=3))
    assert run(searcher, loss, count) == of_optuna(kind(seed=3), count)


def test_the_default_is_tpe_with_the_seed() -> None:
    expected = of_optuna(optuna.samplers.TPESampler(seed=3), 20)
    assert run(opened(OptunaSearch, SPACE, seed=3), loss, 20) == expected


def native(space: Any, **arguments: Any) -> OptunaSearch:
    searcher = OptunaSearch(**{"space": space, "metric": "loss", "mode": "min", **arguments})
    assert not searcher.set_search_properties(None, None, {}, seed=3)
    return searcher


DISTRIBUTIONS = {
    "x": optuna.distributions.FloatDistribution(-5, 5),
    "lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
    "n": optuna.distributions.IntDistribution(1, 8),
    "kind": optuna.distributions.CategoricalDistribution(["a", "b"]),
}


@pytest.mark.parametrize("space", [lambda trial: suggested(trial) and None, DISTRIBUTIONS])
def test_optunas_own_spaces(space: Any) -> None:
    expected = of_optuna(optuna.samplers.TPESampler(seed=3), 20)
    assert run(native(space), loss, 20) == expected


def conditional(trial: Any) -> dict[str, Any]:
    """A space that only a function can say, with nested names and a constant."""
    depth = trial.suggest_int("net/depth", 1, 3)
    for layer in range(depth):
        trial.suggest_int(f"net/units_{layer}", 1, 64, log=True)
    trial.suggest_float("x", -5, 5)
    return {"epochs": 3}


def test_a_define_by_run_function_may_be_dynamic(tmp_path: Path) -> None:
    points = [
        {"net/depth": 1, "net/units_0": 7, "x": 1.5},
        {"net/depth": 2, "net/units_0": 5, "net/units_1": 6, "x": 1.0},
    ]

    def value(config: dict[str, Any]) -> float:
        assert config["epochs"] == 3
        assert len(config["net"]) == config["net"]["depth"] + 1
        return float(abs(config["x"] - 1))

    searcher = native(conditional, points_to_evaluate=points, evaluated_rewards=[0.5])
    first, *others = run(searcher, value, 30)
    assert first == {"net": {"depth": 2, "units_0": 5, "units_1": 6}, "x": 1.0, "epochs": 3}
    assert {config["net"]["depth"] for config in others} == {1, 2, 3}
    assert sum(value(config) for config in others[-8:]) / 8 < 1.5  # 2.6 at random
    searcher.save(tmp_path / "searcher.pkl")
    again = native(conditional)
    again.restore(tmp_path / "searcher.pkl")
    assert run(again, value, 3, first=30) == run(searcher, value, 3, first=30)


def test_constants_stand_beside_parameters() -> None:
    def space(trial: Any) -> dict[str, Any]:
        trial.suggest_int("net/depth", 1, 3)
        return {"net": {"activation": "relu"}, "layers": [1, 2]}

    (config,) = run(native(space), lambda config: 0.0, 1)
    assert config["net"] == {"depth": config["net"]["depth"], "activation": "relu"}
    assert config["layers"] == [1, 2]


@pytest.mark.parametrize("space", [conditional, DISTRIBUTIONS])
def test_own_spaces_are_replayed(space: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Exactly with a seed; without one the record counts."""

    def value(config: dict[str, Any]) -> float:
        return float(config["x"] ** 2)

    whole, replayed = native(space), native(space)
    configs = run(whole, value, 8)
    unseeded = native(space, sampler=optuna.samplers.TPESampler())
    for number, config in enumerate(configs):
        for searcher in (replayed, unseeded):
            searcher.on_trial_recorded(f"t{number:03d}", {**config, "constant": 1})
            searcher.on_trial_complete(f"t{number:03d}", {"loss": value(config)})
    assert run(replayed, value, 4, first=8) == run(whole, value, 4, first=8)
    told = [trial.params["x"] for trial in unseeded._study.trials if trial.state.name != "FAIL"]
    assert told == [config["x"] for config in configs]
    assert caplog.text.count("asked again after a restore") == 1


def test_a_function_in_an_experiment(tmp_path: Path) -> None:
    grid = tune.Tuner(
        lambda config: {"loss": config["x"] ** 2 + config["offset"]},
        param_space={"offset": 1},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=4, search_alg=OptunaSearch(conditional)
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert grid.errors == []
    assert {result.config["epochs"] for result in grid} == {3}
    assert {result.config["offset"] for result in grid} == {1}


def objectives(x: float) -> list[float]:
    return [x**2, -((x - 2) ** 2)]


@pytest.mark.parametrize("name", ["NSGAIISampler", "TPESampler", "GPSampler"])
def test_several_objectives(name: str) -> None:
    count = 12 if name == "GPSampler" else 120
    kind = getattr(optuna.samplers, name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=kind(seed=1), directions=["minimize", "maximize"])
    study.optimize(lambda trial: objectives(trial.suggest_float("x", -10, 10)), n_trials=count)
    searcher = opened(
        OptunaSearch,
        {"x": tune.uniform(-10, 10)},
        sampler=None if name == "NSGAIISampler" else kind(seed=1),
        seed=1,
        metric=["a", "b"],
        mode=["min", "max"],
    )
    for number, expected in enumerate(study.trials):
        config = searcher.suggest(f"t{number}")
        assert config == expected.params
        a, b = objectives(expected.params["x"])
        searcher.on_trial_complete(f"t{number}", {"a": a, "b": b})
    searcher.add_evaluated_point({"x": 1.0}, [1.0, -1.0])
    searcher.add_evaluated_point({"x": 1.0}, [1.0, math.nan])
    searcher.add_evaluated_point({"x": 1.0}, None)
    for value in (1.0, [1.0]):
        with pytest.raises(ConfigError, match=r"must be a list, one for each of \['a', 'b'\]"):
            searcher.add_evaluated_point({"x": 1.0}, value)


def test_results_on_the_way_are_intermediate_values(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    searcher = opened(OptunaSearch, SPACE, storage=url, study_name="s", mode="max")
    searcher.suggest("t")
    for step in range(1, 4):
        searcher.on_trial_result("t", {"loss": step * 2.0, "training_iteration": step})
    searcher.on_trial_complete("t", {"loss": 6.0})
    study = optuna.load_study(study_name="s", storage=url)
    assert study.direction.name == "MAXIMIZE"
    (trial,) = study.trials
    assert trial.intermediate_values == {1: 2.0, 2: 4.0, 3: 6.0}
    assert trial.values == [6.0]


def test_a_study_of_other_directions_is_refused(tmp_path: Path) -> None:
    arguments = {"storage": f"sqlite:///{tmp_path}/optuna.db", "study_name": "s"}
    run(opened(OptunaSearch, SPACE, mode="min", **arguments), loss, 1)
    searcher = opened(OptunaSearch, SPACE, mode="max", **arguments)
    for _ in range(2):
        with pytest.raises(
            ConfigError,
            match=r"study_name='s': .* \['minimize'\], but mode='max' needs \['maximize'\]; use",
        ):
            searcher.suggest("t")
    both = opened(OptunaSearch, SPACE, metric=["a", "b"], mode=["min", "min"], **arguments)
    with pytest.raises(ConfigError, match=r"needs \['minimize', 'minimize'\]"):
        both.suggest("t")
    assert len(run(opened(OptunaSearch, SPACE, mode="min", **arguments), loss, 1)) == 1


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # of what other tests left
def test_a_step_that_is_repeated_keeps_its_first_value(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    searcher = opened(OptunaSearch, SPACE, storage=url, study_name="s")
    searcher.suggest("t")
    for step, value in [(1, 5.0), (2, 4.0), (1, 9.0), (2, 8.0), (3, 3.0)]:
        searcher.on_trial_result("t", {"loss": value, "training_iteration": step})
    searcher.on_trial_complete("t", {"loss": 3.0})
    (trial,) = optuna.load_study(study_name="s", storage=url).trials
    assert trial.intermediate_values == {1: 5.0, 2: 4.0, 3: 3.0}


@pytest.mark.parametrize("name", ["fresh", "evaluated"])
@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"x": 50}, r"x=50 is not in FloatDistribution\(high=5.0"),
        ({"n": 2.5}, r"n=2.5 is not in IntDistribution\(high=8"),
        ({"lr": "big"}, r"lr='big' is not in FloatDistribution"),
        ({"kind": "c"}, r"kind='c' is not in CategoricalDistribution\(choices=\('a', 'b'\)"),
        ({"knd": "a"}, r"'knd' is not in the search space, which has .*did you mean 'kind'\?"),
    ],
)
def test_points_are_checked_against_distributions(
    name: str, point: dict[str, Any], message: str
) -> None:
    whole = {"x": 1.0, "lr": 1e-2, "n": 3, "kind": "a", **point}
    values = [1.0] if name == "evaluated" else []
    if "knd" in point:
        del whole["kind"]
    with pytest.raises(SearchSpaceError, match=message):
        native(DISTRIBUTIONS, points_to_evaluate=[whole], evaluated_rewards=values)
    if "knd" not in point and values:
        for space in (DISTRIBUTIONS, suggested):
            with pytest.raises(SearchSpaceError, match=message):
                native(space).add_evaluated_point(whole, 1.0)


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # of what other tests left
def test_points_of_distributions_may_be_nested_and_leave_something_out() -> None:
    inner = {"x": optuna.distributions.FloatDistribution(0, 1)}
    flat = {"m/x": inner["x"], "n": DISTRIBUTIONS["n"]}
    for space in (flat, {"m": inner, "n": DISTRIBUTIONS["n"]}):
        searcher = native(space, points_to_evaluate=[{"m": {"x": 0.5}}, {"m/x": 0.25, "n": 4}])
        first, second = run(searcher, lambda config: config["n"], 2)
        assert first["m"] == {"x": 0.5}
        assert first["n"] in range(1, 9)
        assert second == {"m": {"x": 0.25}, "n": 4}


@pytest.mark.parametrize("space", [DISTRIBUTIONS, suggested])
def test_an_evaluated_point_must_have_all_parameters(space: Any) -> None:
    point = {"x": 1.0, "lr": 1e-2, "kind": "a"}
    with pytest.raises(SearchSpaceError, match=r"evaluated point \{'x': 1.0, .*\} lacks 'n'"):
        native(space, points_to_evaluate=[point], evaluated_rewards=[1.0])
    with pytest.raises(SearchSpaceError, match="lacks 'n'"):
        native(space).add_evaluated_point(point, 1.0)


def test_points_of_a_function_may_be_nested() -> None:
    points = [
        {"net": {"depth": 1, "units_0": 7}, "x": 1.5, "epochs": 3},
        {"net": {"depth": 1, "units_0": 5}, "x": 1.0},
    ]
    searcher = native(conditional, points_to_evaluate=points, evaluated_rewards=[0.5])
    assert searcher.suggest("t") == {**points[1], "epochs": 3}
    typo = {**points[0], "y": 1}
    with pytest.raises(SearchSpaceError, match="'y' is not in the search space"):
        native(conditional, points_to_evaluate=[typo], evaluated_rewards=[0.5])
    native(conditional).add_evaluated_point(typo, 0.5)


@pytest.mark.parametrize("space", [DISTRIBUTIONS, suggested])
def test_what_was_evaluated_before_the_space_is_known_is_told(space: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    searcher = OptunaSearch(space, "loss", "min", storage=url, study_name="s")
    searcher.add_evaluated_point({"x": 1.0, "lr": 1e-2, "n": 3, "kind": "a", "constant": 1}, 0.5)
    searcher.set_search_properties(None, None, {}, seed=3)
    searcher.suggest("t")
    first, _ = optuna.load_study(study_name="s", storage=url).trials
    assert (first.params, first.value) == ({"x": 1.0, "lr": 1e-2, "n": 3, "kind": "a"}, 0.5)


@pytest.mark.parametrize("other", [tune.uniform(0, 1), 3])
def test_optunas_distributions_are_not_mixed_with_others(other: Any) -> None:
    with pytest.raises(ConfigError, match=r"m/y=.* stands among distributions of Optuna; write"):
        native({**DISTRIBUTIONS, "m": {"y": other}})


def test_a_function_must_return_constants() -> None:
    searcher = native(lambda trial: trial.suggest_float("x", 0, 1) * 0 + 2)
    with pytest.raises(
        ConfigError, match=r"define-by-run function returned 2\.0; it must return a"
    ):
        searcher.suggest("t")


@pytest.mark.parametrize("error", [optuna.TrialPruned(), KeyError("k")])
def test_what_a_function_raises_is_the_cause_of_an_error(error: Exception) -> None:
    def broken(trial: Any) -> None:
        raise error

    with pytest.raises(SearchSpaceError, match=r"by-run function raised (Tri|Key)") as caught:
        native(broken).suggest("t")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("sampler", [optuna.samplers.TPESampler, "tpe"])
def test_a_sampler_must_be_an_object(sampler: Any) -> None:
    with pytest.raises(ConfigError, match=r"sampler=.*[tT][pP][eE].* is no sampler object; give"):
        OptunaSearch(SPACE, "loss", "min", sampler=sampler)


@pytest.mark.parametrize(
    ("storage", "shown"),
    [
        ("optuna.db", "'optuna.db'"),
        ("sqlite:////no/such/folder/optuna.db", "'sqlite:////no/such/folder/optuna.db'"),
        ("nosuch://me:secret@host/db", r"'nosuch://me:\*\*\*@host/db'"),
        (f"nosuch://me:{'secret' * 20}@host/db", r"'nosuch://me:\*\*\*@host/db'"),
    ],
)
def test_a_bad_storage_is_named(storage: str, shown: str) -> None:
    searcher = opened(OptunaSearch, SPACE, storage=storage)
    with pytest.raises(ConfigError, match=f"storage={shown} cannot hold a study: ") as caught:
        searcher.suggest("t")
    assert "secret" not in str(caught.value)
