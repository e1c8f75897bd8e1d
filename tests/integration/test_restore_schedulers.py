"""An experiment with each scheduler ends after kills as it would have ended without them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import wait_until

import tuner as tune

# Made anew from its text, as another process runs it.
SCHEDULERS = {
    "hyperband": "HyperBandScheduler(max_t=9)",
    "bohb": "HyperBandForBOHB(max_t=9)",
    "median": "MedianStoppingRule('training_iteration', grace_period=2)",
    "median_pausing": "MedianStoppingRule('training_iteration', grace_period=2, hard_stop=False)",
}

SCRIPT = """
import os, sys
import tuner as tune
from tuner.schedulers import *

how, ledger, storage, name, scheduler = sys.argv[1:]

class Curve(tune.Trainable):
    def setup(self, config):
        self.steps = 0

    def step(self):
        self.steps += 1
        fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, b".")
        os.close(fd)
        loss = (self.config["x"] - 0.3) ** 2 + self.config["y"] / self.steps
        return {"loss": loss, "steps": self.steps, "done": self.steps == 9}

    def save_checkpoint(self, folder):
        return {"steps": self.steps}

    def load_checkpoint(self, saved):
        self.steps = saved["steps"]

if how == "fit":
    tuner = tune.Tuner(
        Curve,
        param_space={"x": tune.uniform(0, 1), "y": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=16, seed=1, max_concurrent_trials=1,
            scheduler=eval(scheduler),
        ),
        run_config=tune.RunConfig(
            name=name, storage_path=storage, verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=1),
        ),
    )
else:
    tuner = tune.Tuner.restore(os.path.join(storage, name))
tuner.fit()
"""


def start(tmp_path: Path, name: str, scheduler: str) -> subprocess.Popen[bytes]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    how = "restore" if tune.Tuner.can_restore(tmp_path / name) else "fit"
    command = [sys.executable, script, how, tmp_path / f"{name}.ledger", tmp_path, name, scheduler]
    with open(tmp_path / f"{name}.stderr", "ab") as stderr:
        return subprocess.Popen([*map(str, command)], start_new_session=True, stderr=stderr)


def num_steps(tmp_path: Path, name: str) -> int:
    path = tmp_path / f"{name}.ledger"
    return path.stat().st_size if path.exists() else 0


def picture(path: Path) -> list[Any]:
    return [
        (result.config, result.status, result.metrics_dataframe[["steps", "loss"]].to_dict())
        for result in tune.Tuner.restore(path).get_results()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_kills_change_nothing(scheduler: str, tmp_path: Path) -> None:
    made = SCHEDULERS[scheduler]
    assert start(tmp_path, "whole", made).wait(60) == 0
    whole = num_steps(tmp_path, "whole")
    process = start(tmp_path, "killed", made)
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        wait_until(lambda at=share * whole: num_steps(tmp_path, "killed") >= at)  # type: ignore[misc]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process = start(tmp_path, "killed", made)
    assert process.wait(60) == 0
    # A policy that decides otherwise than the record would be overruled, with a warning.
    assert "the journal says" not in (tmp_path / "killed.stderr").read_text()
    assert picture(tmp_path / "killed") == picture(tmp_path / "whole")
    ends = {len(losses["steps"]) for _, _, losses in picture(tmp_path / "whole")}
    assert 9 in ends
    if scheduler != "median_pausing":
        assert len(ends) > 1
