"""What AxSearch alone has; the rest is in the contract suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from searchers import opened, run

import tuner as tune
from tuner.errors import ConfigError
from tuner.integrations.ax import AxSearch

pytest.importorskip("ax", reason="Ax is not installed: tuner[ax]")
pytestmark = pytest.mark.slow

SQUARE = {"x": tune.uniform(-5, 5), "y": tune.uniform(-5, 5)}


def square(config: dict[str, Any]) -> float:
    return float((config["x"] - 1) ** 2 + (config["y"] + 2) ** 2)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the searcher has logged."""
    return [each.message for each in caplog.records if each.name == "tuner.integrations.ax"]


def client(**arguments: Any) -> Any:
    """A client of the user's own."""
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    made = Client()
    made.configure_experiment(
        [
            RangeParameterConfig("model/x", (-5, 5), "float"),
            RangeParameterConfig("n", (1, 3), "int"),
            ChoiceParameterConfig("act", ["relu", "tanh"], "str", is_ordered=False),
        ]
    )
    made.configure_optimization("-loss")
    made.configure_generation_strategy(initialization_random_seed=1, **arguments)
    return made


def test_torch_is_left_alone() -> None:
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    run(opened(AxSearch, SQUARE), square, 7)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_the_console_is_left_alone() -> None:
    code = """
import logging, sys
import tuner as tune
from tuner.integrations.ax import AxSearch
searcher = AxSearch(metric="loss", mode="min")
searcher.set_search_properties(None, None, {"x": tune.uniform(0, 1)}, seed=1)
for number in range(7):
    config = searcher.suggest(str(number))
    searcher.on_trial_complete(str(number), {"loss": config["x"]}, error=number == 3)
from ax.utils.common.logger import ROOT_STREAM_HANDLER, get_logger
assert ROOT_STREAM_HANDLER.level == logging.INFO
get_logger("ax.mine").info("what the user's own use of Ax says")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "what the user's own use of Ax says" in line


def test_two_objectives() -> None:
    """Between x=0 and x=1 each gain in one costs the other; beyond, both are worse."""

    def results(x: float) -> dict[str, float]:
        return {"loss": x**2, "gain/x": 2 - (x - 1) ** 2}

    searcher = opened(
        AxSearch, {"x": tune.uniform(-5, 5)}, metric=["loss", "gain/x"], mode=["min", "max"]
    )
    configs = []
    for number in range(10):
        config = searcher.suggest(f"t{number}")
        assert isinstance(config, dict)
        configs.append(config["x"])
        searcher.on_trial_complete(f"t{number}", results(config["x"]))
    assert sum(-0.2 <= x <= 1.2 for x in configs[5:]) >= 3
    assert max(configs[5:]) - min(configs[5:]) > 0.3


def test_parameters_as_ax_knows_them() -> None:
    space = [
        {"name": "model/x", "type": "range", "bounds": [0.001, 1.0], "log_scale": True},
        {"name": "n", "type": "range", "bounds": [1, 3]},
        {"name": "m", "type": "range", "bounds": [1, 3], "value_type": "float"},
        {"name": "act", "type": "choice", "values": ["relu", "tanh"]},
        {"name": "k", "type": "fixed", "value": "same"},
    ]
    searcher = AxSearch(space, "loss", "min", [{"n": 3, "act": "tanh"}])
    assert not searcher.set_search_properties(None, None, {}, seed=1)
    configs = run(searcher, lambda config: config["model/x"], 7)
    assert configs[0]["n"] == 3
    assert configs[0]["act"] == "tanh"
    for config in configs:
        assert 0.001 <= config["model/x"] <= 1
        assert type(config["n"]) is int
        assert type(config["m"]) is float
        assert config["act"] in ("relu", "tanh")
        assert config["k"] == "same"


def test_parameter_constraints_hold() -> None:
    searcher = opened(AxSearch, SQUARE, parameter_constraints=["x + y <= -3"])
    configs = run(searcher, square, 8)
    assert all(config["x"] + config["y"] <= -3 + 1e-6 for config in configs)
    assert min(map(square, configs)) < 3.5  # the least that there is is 2


def test_points_that_break_a_parameter_constraint_are_refused_when_opened() -> None:
    outside = {"x": 4, "y": 4}
    for arguments in (
        {"points_to_evaluate": [{"x": 0}, {"x": -4, "y": 0}, outside]},
        {"points_to_evaluate": [outside], "evaluated_rewards": [1.0]},
    ):
        with pytest.raises(ConfigError, match=r"the point \{'x': 4, 'y': 4\} breaks .*x .*y <= -3"):
            opened(AxSearch, SQUARE, parameter_constraints=["x + y <= -3"], **arguments)


def test_what_breaks_a_parameter_constraint_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    searcher = opened(
        AxSearch,
        SQUARE,
        parameter_constraints=["x + y <= -3"],
        points_to_evaluate=[{"x": 4.9}],  # what is drawn for y will be too much
    )
    assert isinstance(searcher.suggest("first"), dict)
    searcher.on_trial_complete("first", {"loss": 1.0})
    searcher.add_evaluated_points([{"x": 4, "y": 4}, {"x": -4, "y": 0}], [1.0, 2.0])
    (message,) = warned(caplog)
    assert "AxSearch: Ax learns nothing from {'x': 4.9, 'y': " in message
    assert "breaks ParameterConstraint(1.0*x + 1.0*y <= -3" in message
    (trial,) = searcher._client._experiment.trials.values()
    assert trial.arm.parameters == {"x": -4, "y": 0}
    run(searcher, square, 2)


def test_an_experiment_goes_on_where_a_point_breaks_a_constraint(tmp_path: Path) -> None:
    searcher = AxSearch(parameter_constraints=["x + y <= -3"], points_to_evaluate=[{"x": 4.9}])
    grid = tune.Tuner(
        lambda config: {"loss": square(config)},
        param_space=SQUARE,
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=3, max_concurrent_trials=1, search_alg=searcher
        ),
        run_config=tune.RunConfig(name="ax", storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert [len(grid), grid.errors] == [3, []]
    again = tune.Tuner.restore(str(tmp_path / "ax"), lambda config: {"loss": square(config)}).fit()
    assert [result.config for result in again] == [result.config for result in grid]


def test_a_constrained_metric_that_is_not_reported_is_named_once(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    searcher = opened(AxSearch, SQUARE, outcome_constraints=["size <= 0"])
    assert isinstance(searcher.suggest("failed"), dict)
    searcher.on_trial_complete("failed", error=True)
    assert not warned(caplog)
    run(searcher, square, 4)
    (message,) = warned(caplog)
    assert "outcome_constraints name ['size'], which the trial t000 has not" in message
    assert "COMPLETED" not in capfd.readouterr().err


def test_outcome_constraints_are_learnt() -> None:
    """The loss is least at x=1, which is too large from 0 on."""
    searcher = opened(AxSearch, SQUARE, outcome_constraints=["size <= 0"])
    for number in range(14):
        config = searcher.suggest(f"t{number}")
        assert isinstance(config, dict)
        searcher.on_trial_complete(f"t{number}", {"loss": square(config), "size": config["x"]})
    best, _, _, _ = searcher._client.get_best_parameterization()
    assert best["x"] < 0.1
    assert square(best) < 2.5


def test_what_failed_is_not_proposed_again() -> None:
    searcher = opened(AxSearch, {"n": tune.randint(0, 4)})
    seen = []
    for number in range(4):
        config = searcher.suggest(f"t{number}")
        assert isinstance(config, dict)
        seen.append(config["n"])
        searcher.on_trial_complete(f"t{number}", error=True)
    assert sorted(seen) == list(range(4))


def test_a_space_that_is_exhausted_ends_the_search(caplog: pytest.LogCaptureFixture) -> None:
    searcher = opened(AxSearch, {"n": tune.randint(3, 4)}, initialization_budget=9)
    assert searcher.suggest("t0") == {"n": 3}
    assert searcher.suggest("t1") == AxSearch.FINISHED
    (message,) = warned(caplog)
    assert "AxSearch: Ax ends the search: " in message
    assert "no new points" in message


def test_multiples_that_are_many_are_rounded() -> None:
    space = {"fine": tune.quniform(0, 1, 0.001), "same": tune.uniform(2, 2)}
    for config in run(opened(AxSearch, space), lambda config: config["fine"], 7):
        assert config["fine"] == pytest.approx(round(config["fine"], 3), abs=1e-12)
        assert config["same"] == 2.0


def test_a_client_of_the_users_own() -> None:
    mine = client()
    searcher = AxSearch(ax_client=mine, points_to_evaluate=[{"n": 3, "act": "tanh"}])
    assert not searcher.set_search_properties("other", "max", {}, seed=1)
    assert (searcher.metric, searcher.mode) == (["loss"], ["min"])
    configs = run(searcher, lambda config: config["model/x"], 8)
    assert configs[0]["act"] == "tanh"
    assert {type(config["n"]) for config in configs} == {int}
    best, values, _, _ = mine.get_best_parameterization()
    assert best in configs
    assert values["loss"][0] == pytest.approx(min(config["model/x"] for config in configs), abs=1)


def test_a_client_that_waits_for_values() -> None:
    searcher = AxSearch(ax_client=client(initialization_budget=3))
    searcher.set_search_properties(None, None, {}, seed=1)
    for number in range(3):
        assert isinstance(searcher.suggest(f"t{number}"), dict)
    assert searcher.suggest("t3") is None
    for number in range(3):
        searcher.on_trial_complete(f"t{number}", {"loss": float(number)})
    assert isinstance(searcher.suggest("t3"), dict)


def test_the_strategy_can_be_chosen() -> None:
    random = opened(AxSearch, SQUARE, method="random_search", initialize_with_center=False)
    run(random, square, 8)
    names = {
        trial.generator_runs[0]._generation_node_name
        for trial in random._client._experiment.trials.values()
    }
    assert names == {"Sobol"}


def test_arguments_that_cannot_work_are_named() -> None:
    with pytest.raises(ConfigError, match="metric='loss' and ax_client exclude each other"):
        AxSearch(metric="loss", ax_client=client())
    with pytest.raises(ConfigError, match="unexpected keyword argument 'methods'"):
        opened(AxSearch, SQUARE, methods="fast")
    with pytest.raises(ConfigError, match=r"Ax refuses its arguments.*z"):
        opened(AxSearch, SQUARE, parameter_constraints=["z <= 3"])
    with pytest.raises(ConfigError, match=r"^AxSearch: x=randn\(0.0, 1.0\): .*no normal"):
        opened(AxSearch, {"x": tune.randn(0, 1)})
    for name in ("lambda", "gamma", "None", "loss, size"):
        with pytest.raises(ConfigError, match=f"metric='{name}': .*report it under another"):
            opened(AxSearch, SQUARE, metric=name)
    for parameter, error in [
        ({"name": "x", "type": "choice", "values": [1, 2], "is_ordered": True}, "'is_ordered'"),
        ({"name": "x", "type": "ranges"}, "must be range, choice or fixed"),
        ({"type": "range", "bounds": [0, 1]}, r"\{'type': 'range', .* with a 'name'"),
        ("x", "'x' in space must be a dict with a 'name'"),
        ({"name": "x", "type": "range"}, r"\{'name': 'x', .* is a range and needs 'bounds'"),
        ({"name": "x", "type": "choice"}, "is a choice and needs 'values'"),
        ({"name": "x", "type": "range", "bounds": [3]}, "bounds of .* must be two numbers"),
    ]:
        with pytest.raises(ConfigError, match=error):
            AxSearch([parameter], "loss", "min").set_search_properties(None, None, {})
    from ax.api.client import Client

    with pytest.raises(ConfigError, match="needs configure_experiment"):
        AxSearch(ax_client=Client()).set_search_properties(None, None, {})
