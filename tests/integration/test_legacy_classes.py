"""Whole experiments with class trainables that have the hooks of the older APIs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, fit, run_script

import tuner as tune
from tuner.result import SHOULD_CHECKPOINT
from tuner.schedulers import PopulationBasedTraining

pytestmark = pytest.mark.filterwarnings("ignore:.*older API:FutureWarning")


class Walker(tune.Trainable):
    """Goes by `step`; keeps its state in a file, whose prefix it returns."""

    def _setup(self, config: dict[str, Any]) -> None:
        self.by = config["by"]
        self.iteration = 0  # as the documentation of 0.5 has it
        self.at = 0.0

    def _train(self) -> dict[str, Any]:
        self.iteration += 1
        self.at += self.by
        return {"at": self.at, "by": self.by, "timesteps_this_iter": 10, "mean_loss": -self.at}

    def _save(self, checkpoint_dir: str) -> str:
        path = os.path.join(checkpoint_dir, "save")
        Path(path + ".data").write_text(str(self.at))
        return path

    def _restore(self, path: str) -> None:
        self.at = float(Path(path + ".data").read_text())

    def _stop(self) -> None:
        append(self.config["stopped"], f"{self.by}\n")


class Kept(Walker):
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.by, self.at = new_config["by"], 0.0
        append(new_config["stopped"], "reset\n")
        return True


class Prone(Walker):
    def _train(self) -> dict[str, Any]:
        result = super()._train()
        result[SHOULD_CHECKPOINT] = result["at"] == 2
        mark = Path(self.config["stopped"] + ".died")
        if result["at"] == 3 and not mark.exists():
            mark.touch()
            raise RuntimeError("it dies once")
        return result


def test_checkpoints_as_they_are_due_and_at_the_end(tmp_path: Path) -> None:
    config = tune.CheckpointConfig(checkpoint_frequency=2, checkpoint_at_end=True)
    (result,) = fit(
        Walker,
        tmp_path,
        space={"by": 1, "stopped": str(tmp_path / "stopped")},
        run={"stop": {"training_iteration": 3}, "checkpoint_config": config},
    )
    assert result.error is None
    assert result.metrics is not None
    assert (result.metrics["at"], result.metrics["timesteps_total"]) == (3.0, 30)
    assert len(result.best_checkpoints) == 2
    assert result.checkpoint is not None
    again = Walker({"by": 1, "stopped": str(tmp_path / "stopped")})
    again.restore(os.path.join(result.checkpoint.path, "save"))
    assert again.train()["at"] == 4.0
    assert (tmp_path / "stopped").read_text() == "1\n"


def test_a_failed_trial_goes_on_from_what_it_asked_to_save(tmp_path: Path) -> None:
    (result,) = fit(
        Prone,
        tmp_path,
        space={"by": 1, "stopped": str(tmp_path / "stopped")},
        run={
            "stop": {"neg_mean_loss": 4},
            "failure_config": tune.FailureConfig(max_failures=1),
        },
    )
    assert result.error is None
    assert result.metrics is not None
    assert result.metrics["at"] == 4.0
    assert result.metrics_dataframe is not None
    assert result.metrics_dataframe["at"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_worker_is_reused(tmp_path: Path) -> None:
    results = fit(
        Kept,
        tmp_path,
        space={"by": tune.grid_search([1, 2, 3]), "stopped": str(tmp_path / "stopped")},
        run={"stop": {"training_iteration": 2}},
        reuse_actors=True,
        max_concurrent_trials=1,
    )
    assert sorted(result.metrics["at"] for result in results) == [2.0, 4.0, 6.0]
    assert len({result.metrics["pid"] for result in results}) == 1
    assert (tmp_path / "stopped").read_text().splitlines().count("reset") == 2


def test_a_population(tmp_path: Path) -> None:
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        metric="at",
        mode="max",
        perturbation_interval=2,
        hyperparam_mutations={"by": [1, 5]},
        quantile_fraction=0.5,
        resample_probability=0.0,
        synch=True,
    )
    results = fit(
        Walker,
        tmp_path,
        space={"by": tune.grid_search([1, 5]), "stopped": str(tmp_path / "stopped")},
        run={"stop": {"training_iteration": 8}},
        scheduler=scheduler,
    )
    assert not results.errors
    assert min(result.metrics["at"] for result in results) > 8.0  # as it went on from the better


SCRIPT = """
import tuner as tune

class Family(tune.Trainable):
    def _setup(self):
        self.iteration = 0

    def _save(self, checkpoint_dir):
        with open(checkpoint_dir + "/save", "w") as file:
            file.write(str(self.iteration))
        return checkpoint_dir + "/save"

    def _restore(self, path):
        with open(path) as file:
            self.iteration = int(file.read())

class MyClass(Family):
    def _train(self):
        self.iteration += 1
        resources = self.trial_resources  # None outside of a trial
        assert resources is None or (resources.cpu, resources.gpu) == (1, 0)
        return {"seen": self.iteration, "done": self.iteration == 3}

class Other(MyClass):
    def _save(self, checkpoint_dir):
        return {"iteration": self.iteration}

    def _restore(self, state):
        self.iteration = state["iteration"]

for kind in (MyClass, Other):
    results = tune.Tuner(
        kind,
        run_config=tune.RunConfig(
            verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True)
        ),
    ).fit()
    again = kind(config={})
    again.restore(results[0].checkpoint)
    print(results[0].metrics["seen"], again.train()["seen"])
"""


def test_a_script_of_the_time(tmp_path: Path) -> None:
    """Its classes are of `__main__`, and travel by value."""
    assert run_script(SCRIPT, tmp_path).split() == ["3", "4", "3", "4"]


MODULE = """
import tuner as tune

class Old(tune.Trainable):
    def _train(self):
        return {"a": 1, "done": True}
"""
IMPORTING = """
import tuner as tune
from of_old import Old

tune.Tuner(Old, run_config=tune.RunConfig(verbose=0)).fit()
"""


def test_workers_that_import_the_class_do_not_warn_again(tmp_path: Path) -> None:
    (tmp_path / "of_old.py").write_text(MODULE)
    script = tmp_path / "script.py"
    script.write_text(IMPORTING)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "TUNER_RESULTS_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is of an older API") == 1
    assert "of_old.py:4: FutureWarning" in done.stderr
