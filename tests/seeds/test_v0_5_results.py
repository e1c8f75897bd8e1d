"""The documentation of 0.5: Visualizing Results."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seed_installs import installed_with
from seed_training import Model, reported

import tuner as tune
from tuner.analysis import ExperimentAnalysis
from tuner.experiment import Trial

pytestmark = pytest.mark.usefixtures("results")


def train_func(config: dict[str, Any], reporter: Any) -> None:
    model = Model(config["lr"], config["momentum"])
    for idx in range(8):
        reporter(timesteps_total=idx, **model.step())


@pytest.fixture
def trials(results: Path) -> list[Trial]:
    """The trials of `~/ray_results/my_experiment`."""
    grid = {"lr": tune.grid_search([0.2, 0.4]), "momentum": tune.grid_search([0.1, 0.2])}
    return tune.run_experiments({"my_experiment": {"run": train_func, "config": grid}})


def test_visualizing_results_1_install() -> None:
    """0.5 · Visualizing Results · block 1: tensorboardX writes, TensorFlow is not needed."""
    assert "tensorboardX" in installed_with()


def test_visualizing_results_2_tensorboard(results: Path, trials: list[Trial]) -> None:
    """0.5 · Visualizing Results · block 2: TensorBoard finds each trial below the folder."""
    event_multiplexer = pytest.importorskip(
        "tensorboard.backend.event_processing.plugin_event_multiplexer"
    )
    multiplexer = event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(results / "my_experiment"))
    multiplexer.Reload()
    assert sorted(multiplexer.Runs()) == sorted(Path(trial.path).name for trial in trials)
    for trial in trials:
        run, metric = Path(trial.path).name, "ray/tune/mean_accuracy"
        tensors = multiplexer.Tensors(run, metric)
        values = [float(np.asarray(each.tensor_proto.float_val)[0]) for each in tensors]
        expected = [result["mean_accuracy"] for result in reported(trial.path)]
        assert values == pytest.approx(expected, rel=1e-6)


def viskit_tables(folder: Path) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """What VisKit's `frontend.py FOLDER` loads: parameters and columns of numbers per trial."""
    loaded = []
    for trial in sorted(path for path in folder.iterdir() if (path / "progress.csv").exists()):
        with open(trial / "progress.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        columns = {}
        for name in rows[0]:
            try:
                columns[name] = np.array([float(row[name]) for row in rows])
            except ValueError:  # a column of text
                continue
        loaded.append((json.loads((trial / "params.json").read_text()), columns))
    return loaded


def test_visualizing_results_3_viskit(results: Path, trials: list[Trial]) -> None:
    """0.5 · Visualizing Results · block 3: parameters and curves, in files VisKit reads."""
    tables = viskit_tables(results / "my_experiment")
    assert len(tables) == 4
    varying = {name for name in tables[0][0] if len({params[name] for params, _ in tables}) > 1}
    assert varying == {"lr", "momentum"}
    for params, columns in tables:
        (trial,) = [trial for trial in trials if trial.config == params]
        expected = [result["mean_loss"] for result in reported(trial.path)]
        assert columns["mean_loss"].tolist() == pytest.approx(expected)
        assert columns["timesteps_total"].tolist() == list(range(8))


def test_visualizing_results_4_parallel_coordinates(results: Path, trials: list[Trial]) -> None:
    """0.5 · Visualizing Results · block 4: a line per trial, through its parameters and metric."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    from pandas.plotting import parallel_coordinates

    frame = ExperimentAnalysis(results / "my_experiment").dataframe()
    names = ["config/lr", "config/momentum", "mean_accuracy"]
    axes = parallel_coordinates(frame[["trial_id", *names]], "trial_id")
    drawn = [line.get_ydata().tolist() for line in axes.get_lines() if len(line.get_xdata()) == 3]
    pyplot.close(axes.figure)
    expected = [
        [trial.config["lr"], trial.config["momentum"], trial.last_result["mean_accuracy"]]
        for trial in trials
    ]
    assert sorted(drawn) == sorted(expected)
