"""Where a run's files go, and what is in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_helpers import fit

import tuner as tune


def fit_unnamed(number: int, path: Path) -> tune.ResultGrid:
    return tune.Tuner(
        lambda config: {"number": config["number"]},
        param_space={"number": number},
        run_config=tune.RunConfig(storage_path=str(path), verbose=0),
    ).fit()


def test_unnamed_runs_of_one_second_keep_their_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda *args: "2026-11-21_12-00-00")
    grids = [fit_unnamed(number, tmp_path) for number in range(3)]
    assert [grid.to_arrow()["number"].to_pylist() for grid in grids] == [[0], [1], [2]]
    names = [os.path.basename(grid.experiment_path) for grid in grids]
    first = names[0]
    assert first.endswith("2026-11-21_12-00-00")
    assert names == [first, f"{first}_2", f"{first}_3"]


def test_unnamed_runs_in_threads_keep_their_results(tmp_path: Path) -> None:
    grids: dict[int, tune.ResultGrid] = {}

    def run(number: int) -> None:
        grids[number] = fit_unnamed(number, tmp_path)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: grid.to_arrow()["number"].to_pylist() for n, grid in grids.items()} == {
        n: [n] for n in range(3)
    }


def test_a_module_that_fits_while_it_is_imported_is_refused(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(
        "import tuner as tune\n"
        "def train(config):\n"
        "    return {'x': 1}\n"
        f"run_config = tune.RunConfig(storage_path={str(tmp_path / 'results')!r})\n"
        "tune.Tuner(train, run_config=run_config).fit()\n"
    )
    (tmp_path / "script.py").write_text("import careless\n")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1
    assert "put the call below `if __name__ == '__main__':` or into a function" in done.stderr
    assert len(os.listdir(tmp_path / "results")) == 1


def test_hooks_see_the_configuration_in_every_result(tmp_path: Path) -> None:
    seen: list[tuple[str, Any]] = []

    class Watch(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
        ) -> None:
            seen.append(("callback", result["config"]))

    class Listening(tune.schedulers.FIFOScheduler):
        def on_trial_result(self, experiment: Any, trial: Any, result: Any) -> str:
            seen.append(("scheduler", result["config"]))
            return self.CONTINUE

    def stop(trial_id: str, result: dict[str, Any]) -> bool:
        seen.append(("stopper", result["config"]))
        return False

    class Written(tune.LoggerCallback):
        in_recorder = True

        def log_trial_result(self, iteration: int, trial: Any, result: Any) -> None:
            Path(trial.path, "seen.txt").write_text(repr(result["config"]))

    grid = tune.Tuner(
        lambda config: {"loss": 1},
        param_space={"lr": 0.5},
        tune_config=tune.TuneConfig(scheduler=Listening()),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path), stop=stop, callbacks=[Watch(), Written()], verbose=0
        ),
    ).fit()
    config = {"lr": 0.5}
    assert seen == [("stopper", config), ("scheduler", config), ("callback", config)]
    assert Path(grid[0].path, "seen.txt").read_text() == repr(config)
    assert grid[0].metrics["config"] == config


def test_numpy_values_in_a_configuration_are_numbers_in_every_file(tmp_path: Path) -> None:
    space = {"lr": tune.grid_search(np.logspace(-3, -1, 3)), "n": tune.choice(np.arange(1, 4))}
    grid = fit(lambda config: {"type": type(config["n"]).__name__, "x": 1}, tmp_path, space=space)
    for result, lr in zip(grid, (0.001, 0.01, 0.1), strict=True):
        assert result.metrics["type"] == "int64"
        assert json.loads(Path(result.path, "params.json").read_text())["lr"] == lr
        assert result.metrics_dataframe["config/lr"].tolist() == [lr]
        config = tune.Result.from_path(result.path).config
        assert (type(config["lr"]), type(config["n"])) == (float, int)
        assert "int64" not in result.path


def test_a_logger_can_open_its_file_in_the_trials_folder_at_the_start(tmp_path: Path) -> None:
    class Mine(tune.LoggerCallback):
        def log_trial_start(self, trial: Any) -> None:
            self.file = open(os.path.join(trial.logdir, "my.log"), "w")  # noqa: SIM115

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            self.file.write("ended")
            self.file.close()

    (result,) = fit(lambda config: {"x": 1}, tmp_path, run={"callbacks": [Mine()]})
    assert Path(result.path, "my.log").read_text() == "ended"
