"""Trials that are given other resources while they run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, fit, wait_until

import tuner as tune
from tuner.schedulers import DistributeResourcesToTopJob, ResourceChangingScheduler


def resources() -> dict[str, float]:
    return tune.get_context().get_trial_resources().required_resources


PATIENCE_S = 240.0  # after which a trial gives up hope


def is_done(config: dict[str, Any], steps: int, begun: float) -> bool:
    """After some steps, and when it has what it is to get as others end."""
    name, amount = config.get("until", ("CPU", 1))
    is_hopeless = time.monotonic() > begun + PATIENCE_S
    return steps >= config["steps"] and (resources()[name] >= amount or is_hopeless)


class Curve(tune.Trainable):
    """Says what it has, and writes it down while it has it."""

    def setup(self, config: dict[str, Any]) -> None:
        self.steps = 0
        self.begun = time.monotonic()
        self.note("begins")

    def step(self) -> dict[str, Any]:
        self.steps += 1
        return {
            "steps": self.steps,
            "score": self.config["steps"],
            "cpus": self.trial_resources.required_resources["CPU"],
            "threads": int(os.environ["OMP_NUM_THREADS"]),
            "gpus": os.environ["CUDA_VISIBLE_DEVICES"],
            "done": is_done(self.config, self.steps, self.begun),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
        return {"steps": self.steps}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.steps = checkpoint["steps"]

    def cleanup(self) -> None:
        self.note("ends")

    def note(self, what: str) -> None:
        cpus = self.trial_resources.required_resources["CPU"]
        append(self.config["ledger"], f"{what} {cpus:g}\n")


def train(config: dict[str, Any]) -> None:
    """The same as a function, with a checkpoint at each result."""
    start, begun = 0, time.monotonic()
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        start = checkpoint.get_metadata()["steps"]
    append(config["ledger"], f"begins {resources()['CPU']:g}\n")
    try:
        step = start
        while step == start or not is_done(config, step, begun):
            step += 1
            with tempfile.TemporaryDirectory() as folder:
                kept = tune.Checkpoint.from_directory(folder)
                kept.set_metadata({"steps": step})
                metrics = {
                    "steps": step,
                    "score": config["steps"],
                    "cpus": resources()["CPU"],
                    "threads": int(os.environ["OMP_NUM_THREADS"]),
                    "gpus": os.environ["CUDA_VISIBLE_DEVICES"],
                }
                tune.report(metrics, checkpoint=kept)
    finally:
        append(config["ledger"], f"ends {resources()['CPU']:g}\n")


def most_in_use(ledger: Path) -> float:
    """The most CPUs that trials had at the same time."""
    used = most = 0.0
    for line in ledger.read_text().splitlines():
        what, cpus = line.split()
        used += float(cpus) if what == "begins" else -float(cpus)
        most = max(most, used)
    assert used == 0
    return most


@pytest.fixture(autouse=True)
def _no_thread_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize("trainable", [Curve, train], ids=["class", "function"])
@pytest.mark.parametrize("reuse", [False, True])
def test_those_that_are_left_get_what_the_others_had(
    trainable: Any, reuse: bool, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    grid = fit(
        trainable,
        tmp_path / "out",
        space={
            "steps": tune.grid_search([3, 4, 5, 6]),
            "until": tune.sample_from(lambda spec: ("CPU", 4 if spec.config.steps == 6 else 1)),
            "ledger": str(ledger),
        },
        scheduler=ResourceChangingScheduler(),
        reuse_actors=reuse,
        run={"executor": tune.LocalExecutor(num_cpus=4)},
    )
    assert not grid.errors
    for result in grid:
        assert result.metrics_dataframe["steps"].tolist() == list(
            range(1, result.metrics["steps"] + 1)
        )
    cpus = grid[3].metrics_dataframe["cpus"].tolist()
    assert cpus == sorted(cpus), "it gets more and more"
    assert (cpus[0], cpus[-1]) == (1, 4)
    assert grid[3].metrics_dataframe["threads"].tolist() == cpus
    if not reuse:  # a worker that is kept cleans up when it is used again, or at the end
        assert most_in_use(ledger) <= 4


def test_the_best_gets_what_is_free(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    grid = fit(
        Curve,
        tmp_path / "out",
        space={"steps": tune.grid_search([40, 50]), "until": ("CPU", 3), "ledger": str(ledger)},
        scheduler=ResourceChangingScheduler(None, DistributeResourcesToTopJob()),
        metric="score",
        mode="max",
        run={"executor": tune.LocalExecutor(num_cpus=4)},
    )
    assert all(result.metrics["cpus"] >= 3 for result in grid), "the second one when it is alone"
    assert most_in_use(ledger) <= 4


def test_gpus(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    grid = fit(
        tune.with_resources(Curve, {"cpu": 1, "gpu": 1}),
        tmp_path / "out",
        space={
            "steps": tune.grid_search([2, 20]),
            "until": tune.sample_from(lambda spec: ("GPU", 2 if spec.config.steps == 20 else 1)),
            "ledger": str(ledger),
        },
        scheduler="resource_changing",
        run={"executor": tune.LocalExecutor(num_cpus=4, num_gpus=2)},
    )
    last = grid[1].metrics
    assert last["gpus"].split(",") in (["0", "1"], ["1", "0"])
    assert last["cpus"] == 1
    assert grid[0].metrics["gpus"] in ("0", "1")


SCRIPT = """
import os, sys, json, time
import tuner as tune
from tuner.schedulers import ResourceChangingScheduler

class Waits(tune.Trainable):
    def setup(self, config):
        self.steps = 0
    def step(self):
        while self.steps == 30 and not os.path.exists(os.path.join(sys.argv[1], "killed")):
            time.sleep(0.01)
        self.steps += 1
        fd = os.open(os.path.join(sys.argv[1], "ledger"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        cpus = self.trial_resources.required_resources["CPU"]
        os.write(fd, f"{self.config['n']} {self.steps} {cpus:g}\\n".encode())
        os.close(fd)
        return {"steps": self.steps, "cpus": cpus, "done": self.steps == 60}
    def save_checkpoint(self, folder):
        return {"steps": self.steps}
    def load_checkpoint(self, saved):
        self.steps = saved["steps"]

folder = os.path.join(sys.argv[1], "run")
if tune.Tuner.can_restore(folder):
    tuner = tune.Tuner.restore(folder)
else:
    tuner = tune.Tuner(
        Waits,
        param_space={"n": tune.grid_search([0, 1])},
        tune_config=tune.TuneConfig(scheduler=ResourceChangingScheduler()),
        run_config=tune.RunConfig(
            name="run", storage_path=sys.argv[1], verbose=0,
            executor=tune.LocalExecutor(num_cpus=4),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=5),
        ),
    )
tuner.fit()
"""


def test_after_a_kill_trials_go_on_with_what_they_were_given(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ledger = tmp_path / "ledger"

    def lines() -> list[list[str]]:
        text = ledger.read_text() if ledger.exists() else ""
        return [line.split() for line in text.splitlines()]

    def has_both() -> bool:
        return {number for number, _, cpus in lines() if cpus == "2"} == {"0", "1"}

    command = [sys.executable, str(script), str(tmp_path)]
    process = subprocess.Popen(command, start_new_session=True)
    wait_until(has_both)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = len(lines())
    (tmp_path / "killed").touch()
    assert subprocess.run(command, timeout=240).returncode == 0
    after = lines()[before:]
    assert {cpus for _, _, cpus in after[:4]} == {"2"}
    grid = tune.Tuner.restore(tmp_path / "run").get_results()
    for result in grid:
        assert result.metrics_dataframe["steps"].tolist() == list(range(1, 61))
    journal = "".join(p.read_text() for p in sorted((tmp_path / "run/journal").glob("*.jsonl")))
    changes = [json.loads(x) for x in journal.splitlines() if '"trial_changed"' in x]
    assert {change["bundles"][0]["CPU"] for change in changes} <= {2.0, 3.0, 4.0}
