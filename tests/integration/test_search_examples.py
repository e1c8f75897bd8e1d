"""The examples of searchers print what their files say."""

import json
import re

import pytest


def test_pareto_front(run_example):
    run = run_example("pareto_front.py")
    ends = [frame.iloc[-1] for frame in run.trials.values()]
    points = [(row["weights"], row["accuracy"]) for row in ends]
    front = {
        (size, accuracy)
        for size, accuracy in points
        if not any(
            (other, better) != (size, accuracy) and other <= size and better >= accuracy
            for other, better in points
        )
    }
    table = re.findall(r"^ *(\d+)  +(0\.\d{4})  +\d+", run.output, re.MULTILINE)
    printed = [(int(size), pytest.approx(float(value), abs=5e-5)) for size, value in table]
    assert sorted(printed, key=lambda row: row[0]) == sorted(front)
    assert f"{len(front)} of 8 networks are on the Pareto front" in run.output


@pytest.mark.slow
def test_search_ax(run_example):
    pytest.importorskip("ax", reason="Ax is not installed")
    run = run_example("search_ax.py")
    assert len(run.trials) == 7
    found = {(frame["size"].item(), frame["accuracy"].item()) for frame in run.trials.values()}
    front = re.findall(r"^ *(\d+) leaves: accuracy ([\d.]+)$", run.output, flags=re.MULTILINE)
    assert front
    for size, accuracy in ((int(size), float(accuracy)) for size, accuracy in front):
        assert any(a == size and b == pytest.approx(accuracy, abs=5e-5) for a, b in found)
        assert not any(a <= size and b > accuracy + 1e-4 for a, b in found)


def test_search_bayesopt(run_example):
    pytest.importorskip("bayes_opt", reason="bayesian-optimization is not installed")
    run = run_example("search_bayesopt.py")
    assert len(run.trials) == 6
    errors = [frame["error"].item() for frame in run.trials.values()]
    best = min(run.number("of the first 3:"), run.number("of the others:"))
    assert best == pytest.approx(min(errors), abs=5e-5)
    assert len({round(error, 6) for error in errors}) > 3


def test_search_optuna(run_example):
    run = run_example("search_optuna.py")
    assert len(run.trials) == 10
    configs = [json.loads((folder / "params.json").read_text()) for folder in run.trials]
    assert {"num_layers": 1, "widths": {"0": 100}, "lr": 1e-3, "epochs": 4} in configs
    assert all(len(config["widths"]) == config["num_layers"] for config in configs)
    assert run.number("Epochs trained:") == sum(map(len, run.trials.values())) < 10 * 4
    last = [frame["accuracy"].iloc[-1] for frame in run.trials.values()]
    assert run.number("Best accuracy:") == pytest.approx(max(last), abs=5e-5)
    assert max(last) > 0.8


def test_search_hyperopt(run_example):
    run = run_example("search_hyperopt.py")
    assert len(run.trials) == 12
    parameters = {
        "nearest": {"kind", "neighbours"},
        "logistic": {"kind", "C"},
        "svm": {"kind", "C", "gamma"},
    }
    tried = []
    for folder in run.trials:
        model = json.loads((folder / "params.json").read_text())["model"]
        assert model.keys() == parameters[model["kind"]]
        tried.append(model["kind"])
    for kind in parameters:
        assert run.number(f"{kind}:") == tried.count(kind) > 0
    best = max(frame["accuracy"].iloc[-1] for frame in run.trials.values())
    assert run.number("Best accuracy:") == pytest.approx(best, abs=5e-5)
    assert best > 0.95


def test_search_bohb(run_example):
    pytest.importorskip("hpbandster", reason="hpbandster is not installed: tuner[bohb]")
    run = run_example("search_bohb.py")
    assert len(run.trials) == 14
    assert run.number("Epochs trained:") == sum(map(len, run.trials.values())) < 14 * 3
    configs = [json.loads((folder / "params.json").read_text()) for folder in run.trials]
    for config in configs:
        assert ("momentum" in config["solver"]) == (config["solver"]["name"] == "sgd")
    best = max(frame["accuracy"].iloc[-1] for frame in run.trials.values())
    assert run.number("Best accuracy:") == pytest.approx(best, abs=5e-5)
    assert best > 0.8


def test_search_zoopt(run_example):
    pytest.importorskip("zoopt", reason="ZOOpt is not installed: tuner[zoopt]")
    run = run_example("search_zoopt.py")
    assert len(run.trials) == 8
    best = max(frame["accuracy"].iloc[-1] for frame in run.trials.values())
    assert run.number("Best accuracy:") == pytest.approx(best, abs=5e-5)
    assert best >= run.number("random ones:") - 5e-5
    assert best > 0.8


def test_search_nevergrad(run_example):
    run = run_example("search_nevergrad.py")
    assert len(run.trials) == 16
    front = re.findall(r"^ +([\d.]+) +(\d+) ", run.output, flags=re.MULTILINE)
    ends = {
        (f"{end['error']:.4f}", str(end["weights"]))
        for end in (frame.iloc[-1] for frame in run.trials.values())
    }
    assert set(front) <= ends
    errors, sizes = ([float(each) for each in column] for column in zip(*front, strict=True))
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)
    assert len(front) > 1
    assert min(errors) < 0.2
