"""The user guide of 0.8: Training API, Running Tune, Analyzing Results, search, names, samples."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_helpers import run_script
from seed_training import Model, MyTrainableClass, reported

import tuner as tune

pytestmark = pytest.mark.usefixtures("results")


class trainable(tune.Trainable):
    def _setup(self, config: dict[str, Any]) -> None:
        if config["print_me"]:
            print(config["print_me"])

    def _train(self) -> dict[str, Any]:
        result_dict = {"accuracy": 0.5, "f1": 0.1}
        return result_dict  # noqa: RET504


def test_training_api_1_class() -> None:
    """0.8 · Training API · block 1: the dry run of a class, 200 iterations long."""
    analysis = tune.run(
        trainable, config={"print_me": "hello-world"}, stop={"training_iteration": 200}
    )
    (trial,) = analysis.trials
    results = reported(trial.path)
    assert [result["training_iteration"] for result in results] == list(range(1, 201))
    assert {(result["accuracy"], result["f1"]) for result in results} == {(0.5, 0.1)}


def trainable_function(config: dict[str, Any]) -> None:
    if config["print_me"]:
        print(config["print_me"])

    for _ in range(200):
        time.sleep(0.001)
        result_dict = {"accuracy": 0.5, "f1": 0.1}
        tune.track.log(**result_dict)


def test_training_api_2_function(capfd: pytest.CaptureFixture[str]) -> None:
    """0.8 · Training API · block 2: the same as a function that logs, and what it prints."""
    analysis = tune.run(trainable_function, config={"print_me": "hello-world"})
    (trial,) = analysis.trials
    assert len(reported(trial.path)) == 200
    assert trial.last_result["accuracy"] == 0.5
    assert "hello-world" in capfd.readouterr().out


@pytest.mark.parametrize("num_samples", [1, 10])
def test_running_tune_1_run(results: Path, num_samples: int) -> None:
    """0.8 · Running Tune · block 1: one trial, and ten of them."""

    def train(config: dict[str, Any]) -> None:
        tune.track.log(accuracy=0.5)

    analysis = tune.run(train, num_samples=num_samples) if num_samples > 1 else tune.run(train)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * num_samples
    (folder,) = results.iterdir()
    assert re.fullmatch(r"train_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", folder.name)
    assert len(list(folder.glob("*/result.json"))) == num_samples


STATUS = """
import time
from pathlib import Path

import numpy as np

import tuner as tune

shown = Path("shown").absolute()


class MyTrainable(tune.Trainable):
    def _train(self):
        while self.iteration and not shown.exists():
            time.sleep(0.01)
        return {"acc": self.config["param1"] * self.iteration, "loss": self.config["param2"]}


class Reporter(tune.CLIReporter):
    def report(self, trials, *args):
        are_all_running = len([t for t in trials if t.status == "RUNNING" and t.last_result]) == 4
        super().report(trials, *args)
        if are_all_running:
            shown.touch()


params = {f"param{i}": tune.sample_from(lambda spec: np.random.random()) for i in (1, 2, 3)}
tune.run(
    MyTrainable,
    name="myexp",
    num_samples=4,
    config=params,
    stop={"training_iteration": 6},
    executor=tune.LocalExecutor(num_cpus=4),
    progress_reporter=Reporter(max_report_frequency=0.1),
)
"""


def test_running_tune_2_status(tmp_path: Path) -> None:
    """0.8 · Running Tune · block 2: blocks of status, with states, parameters and metrics."""
    output = run_script(STATUS, tmp_path)
    blocks = output.split("== Status ==")[1:]
    assert len(blocks) > 1
    running = next(block for block in blocks if block.count("| RUNNING ") == 4 and " acc " in block)
    assert re.search(r"Memory usage on this node: [\d.]+/[\d.]+ GiB", running)
    assert "FIFO: trials run to their end in order of arrival" in running
    assert re.search(r"4/4 CPUs, 0/0 GPUs", running)
    assert str(tmp_path / "myexp") in running
    assert "Number of trials: 4/4 (4 RUNNING)" in running
    for title in ("Trial name", "status", "loc", "param1", "param2", "param3", "acc", "loss"):
        assert f" {title} " in running
    assert "Number of trials: 4/4 (4 TERMINATED)" in blocks[-1]
    assert re.search(r"MyTrainable_\w+ +\| TERMINATED \|.* 6 \|", blocks[-1])


def train(config: dict[str, Any]) -> None:
    model = Model(config.get("lr", 0.1), config.get("momentum", 0.0))
    for _ in range(10):
        tune.track.log(**model.step())


def test_analyzing_results_1_analysis(results: Path) -> None:
    """0.8 · Analyzing Results · block 1: `tune.run` returns what the experiment found."""
    analysis = tune.run(train, name="example-experiment", num_samples=10)
    assert isinstance(analysis, tune.ExperimentAnalysis)
    assert len(analysis.trials) == 10
    assert analysis.dataframe()["mean_accuracy"].between(0, 1).all()
    assert len(analysis.trial_dataframes) == 10
    assert {path.parent.name for path in results.glob("*/*/result.json")} == {
        Path(trial.path).name for trial in analysis.trials
    }


def test_analyzing_results_2_best_config(capsys: pytest.CaptureFixture[str]) -> None:
    """0.8 · Analyzing Results · block 2: the best configuration by a metric."""
    space = {
        "lr": tune.sample_from(lambda spec: 10 ** np.random.uniform(-4, -2)),
        "momentum": tune.sample_from(lambda spec: np.random.uniform(0.1, 0.9)),
    }
    analysis = tune.run(train, config=space, num_samples=5, verbose=0)
    print("Best config is", analysis.get_best_config(metric="mean_accuracy"))
    best = max(analysis.trials, key=lambda trial: trial.last_result["mean_accuracy"])
    assert capsys.readouterr().out == f"Best config is {best.config}\n"
    assert best.config.keys() == space.keys()


def test_grid_search_random_search_1() -> None:
    """0.8 · Grid Search/Random Search · block 1: a grid of six, a lambda and a constant."""
    analysis = tune.run(
        train,
        config={
            "qux": tune.sample_from(lambda spec: 2 + 2),
            "bar": tune.grid_search([True, False]),
            "foo": tune.grid_search([1, 2, 3]),
            "baz": "asd",
        },
    )
    found = [
        tuple(trial.config[key] for key in ("qux", "bar", "foo", "baz"))
        for trial in analysis.trials
    ]
    assert sorted(found) == [(4, bar, foo, "asd") for bar in (False, True) for foo in (1, 2, 3)]


def test_custom_trial_names_1(capfd: pytest.CaptureFixture[str]) -> None:
    """0.8 · Custom Trial Names · block 1: a name that a function makes of the trial."""

    def trial_name_string(trial: Any) -> str:
        """
        Args:
            trial (Trial): A generated trial object.

        Returns:
            trial_name (str): String representation of Trial.
        """
        return str(trial)

    arguments: dict[str, Any] = {"stop": {"training_iteration": 1}, "num_samples": 1}
    analysis = tune.run(
        MyTrainableClass,
        name="example-experiment",
        trial_name_creator=trial_name_string,
        **arguments,
    )
    (trial,) = analysis.trials
    assert str(trial) == f"MyTrainableClass_{trial.trial_id}"
    assert str(trial) in capfd.readouterr().out

    named = tune.run(
        MyTrainableClass, trial_name_creator=lambda trial: f"mine_{trial.trial_id}", **arguments
    )
    (trial,) = named.trials
    assert str(trial) == f"mine_{trial.trial_id}"
    assert f"| mine_{trial.trial_id} |" in capfd.readouterr().out


def my_trainable(config: dict[str, Any]) -> None:
    tune.track.log(units=sum(config["nn_layers"]), beta=config["beta"])


def test_sampling_multiple_times_1() -> None:
    """0.8 · Sampling Multiple Times · block 1: the grid of nine ten times, each newly sampled."""
    analysis = tune.run(
        my_trainable,
        name="my_trainable",
        config={
            "alpha": tune.sample_from(lambda spec: np.random.uniform(100)),
            "beta": tune.sample_from(lambda spec: spec.config.alpha * np.random.normal()),
            "nn_layers": [
                tune.grid_search([16, 64, 256]),
                tune.grid_search([16, 64, 256]),
            ],
        },
        num_samples=10,
    )
    configs = [trial.config for trial in analysis.trials]
    assert len(configs) == 90
    layers = [tuple(config["nn_layers"]) for config in configs]
    assert len(set(layers)) == 9
    assert {layers.count(each) for each in layers} == {10}
    assert len({config["alpha"] for config in configs}) == 90
    assert all(1 <= config["alpha"] <= 100 for config in configs)
    ratios = [config["beta"] / config["alpha"] for config in configs]
    assert len(set(ratios)) == 90
    assert abs(np.mean(ratios)) < 0.5, "normal around 0"
    assert {trial.last_result["units"] for trial in analysis.trials} == set(map(sum, layers))
