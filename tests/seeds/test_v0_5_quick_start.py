"""The documentation of 0.5: Getting Started, Quick Start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import run_script
from seed_training import Model, reported

import tuner as tune

pytestmark = pytest.mark.usefixtures("results")

QUICK_START = """
import json

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

import tuner as tune

images, labels = load_digits(return_X_y=True)
images = torch.tensor(images[:600] / 8, dtype=torch.float32)
targets = F.one_hot(torch.tensor(labels[:600]), 10).float()


class NeuralNet(torch.nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


def eval_accuracy(model):
    with torch.no_grad():
        return 100 * float((model(images).argmax(1) == targets.argmax(1)).float().mean())


def train_func(config, reporter):  # add a reporter arg
    model = NeuralNet()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config["lr"], momentum=config["momentum"])
    batches = torch.split(torch.randperm(len(images)).repeat(60), 30)
    dataset = ((images[batch], targets[batch]) for batch in batches)

    for idx, (data, target) in enumerate(dataset):
        optimizer.zero_grad()
        output = model(data)
        loss = F.mse_loss(output, target)
        loss.backward()
        optimizer.step()
        if idx % 50 == 49:
            accuracy = eval_accuracy(model)
            reporter(timesteps_total=idx, mean_accuracy=accuracy) # report metrics


tune.register_trainable("train_func", train_func)

all_trials = tune.run_experiments({
    "my_experiment": {
        "run": "train_func",
        "stop": {"mean_accuracy": 99},
        "config": {
            "lr": tune.grid_search([0.2, 0.4, 0.6]),
            "momentum": tune.grid_search([0.1, 0.2]),
        },
    },
})
print(json.dumps([[trial.status, trial.config, trial.last_result] for trial in all_trials]))
"""


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the script printed, and the folder where it ran."""
    folder = tmp_path_factory.mktemp("quick_start")
    return run_script(QUICK_START, folder), folder


def test_getting_started_imports(tmp_path: Path) -> None:
    """0.5 · Getting Started · text: all is there without Ray, which is not even imported."""
    names = "register_trainable, run_experiments, grid_search, Experiment, Trainable"
    script = f"import sys\nfrom tuner import {names}\nprint('ray' in sys.modules)"
    assert run_script(script, tmp_path) == "False\n"


@pytest.mark.slow
def test_quick_start_1_run_experiments(quick_start: tuple[str, Path]) -> None:
    """0.5 · Quick Start · block 1: a grid of six trials, which end at 99 %."""
    trials = json.loads(quick_start[0].splitlines()[-1])
    grid = [(config["lr"], config["momentum"]) for _, config, _ in trials]
    assert sorted(grid) == [(lr, m) for lr in (0.2, 0.4, 0.6) for m in (0.1, 0.2)]
    assert {status for status, _, _ in trials} == {"TERMINATED"}
    assert all(result["done"] for _, _, result in trials)
    assert max(result["mean_accuracy"] for _, _, result in trials) >= 99


@pytest.mark.slow
def test_quick_start_2_train_func(quick_start: tuple[str, Path]) -> None:
    """0.5 · Quick Start · block 2: what `reporter` was told is recorded, up to the stop."""
    folders = [path.parent for path in quick_start[1].glob("my_experiment/*/result.json")]
    assert len(folders) == 6
    for folder in folders:
        results = reported(folder)
        steps = [result["timesteps_total"] for result in results]
        assert steps == list(range(49, 1200, 50))[: len(steps)]
        accuracies = [result["mean_accuracy"] for result in results]
        assert max(accuracies[:-1]) < 99
        assert accuracies[-1] >= 99 or len(steps) == 24, "it ended before its time"
        assert accuracies[-1] > 90


@pytest.mark.slow
def test_quick_start_3_status(quick_start: tuple[str, Path]) -> None:
    """0.5 · Quick Start · block 3: the console shows each trial with parameters and accuracy."""
    output, folder = quick_start
    assert "my_experiment: 6 trials, FIFO scheduling algorithm, results in" in output
    assert str(folder / "my_experiment") in output
    assert "Number of trials: 6/6 (6 TERMINATED)" in output
    header = re.search(r"\| Trial name .*", output)
    assert header is not None
    titles = [title.strip() for title in header[0].strip("|").split("|")]
    for title in ("status", "loc", "lr", "momentum", "acc", "total time (s)", "iter", "ts"):
        assert title in titles
    rows = re.findall(r"\| (train_func_\w+) .*TERMINATED \| [\d.]+:(\d+) ", output)
    assert len({name for name, _ in rows}) == len({pid for _, pid in rows}) == 6


def train_with_loss(config: dict[str, Any], reporter: Any) -> None:
    model = Model(config["lr"])
    for _ in range(200):
        reporter(mean_loss=model.step()["mean_loss"])


def test_quick_start_neg_mean_loss() -> None:
    """0.5 · Quick Start · text: a loss ends trials by the bound of its negative."""
    tune.register_trainable("train_with_loss", train_with_loss)
    (trial,) = tune.run_experiments(
        {
            "falling": {
                "run": "train_with_loss",
                "stop": {"neg_mean_loss": -0.4},
                "config": {"lr": 0.5},
            }
        }
    )
    losses = [result["mean_loss"] for result in reported(trial.path)]
    assert trial.last_result["neg_mean_loss"] == -losses[-1] >= -0.4
    assert min(losses[:-1]) > 0.4


def test_quick_start_4_register_trainable() -> None:
    """0.5 · Quick Start · block 4: a class and a function by name; what is neither is refused."""

    class Counting(tune.Trainable):
        def _train(self) -> dict[str, Any]:
            return {"count": self.config["begin"] + self.iteration}

    tune.register_trainable("counting", Counting)
    tune.register_trainable(
        name="adding", trainable=lambda config, status_reporter: status_reporter(sum=config["a"])
    )
    counting, adding = tune.run_experiments(
        {
            "of a class": {
                "run": "counting",
                "config": {"begin": 10},
                "stop": {"training_iteration": 3},
            },
            "of a function": {"run": "adding", "config": {"a": 1}},
        }
    )
    assert [result["count"] for result in reported(counting.path)] == [10, 11, 12]
    assert adding.last_result["sum"] == 1
    with pytest.raises(tune.TunerError, match="trainable=3 must be a function"):
        tune.register_trainable("neither", 3)


@pytest.mark.parametrize("form", ["dictionary", "Experiment", "list"])
def test_quick_start_5_forms_of_experiments(form: str) -> None:
    """0.5 · Quick Start · block 5: `run_experiments` with all its arguments, in all forms."""
    specification = {"run": train_with_loss, "config": {"lr": 0.5}, "stop": {"mean_loss": 0}}
    experiment = tune.Experiment("one", train_with_loss, config={"lr": 0.5}, repeat=2)
    given = {
        "dictionary": {"one": specification, "two": {**specification, "repeat": 2}},
        "Experiment": experiment,
        "list": [experiment, tune.Experiment("two", train_with_loss, config={"lr": 0.1})],
    }[form]
    trials = tune.run_experiments(
        given,
        scheduler=None,
        with_server=False,
        server_port=4321,
        verbose=True,
        queue_trials=False,
    )
    assert [trial.status for trial in trials] == ["TERMINATED"] * len(trials)
    names = sorted(Path(trial.path).parent.name for trial in trials)
    expected = {
        "dictionary": ["one", "two", "two"],
        "Experiment": ["one", "one"],
        "list": ["one", "one", "two"],
    }
    assert names == expected[form]
    assert all("mean_loss" in trial.last_result for trial in trials)
