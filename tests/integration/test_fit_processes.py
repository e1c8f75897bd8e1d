"""Signals, kills and what must not be left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from fit_helpers import marked_processes, start_script, wait_until

SCRIPT = """
import os, signal, subprocess, sys, threading
import tuner as tune

def polite(config):
    try:
        i = 0
        while True:
            tune.report({"i": i})
            i += 1
            threading.Event().wait(0.01)
    finally:
        open("unwound", "w").close()

class Saved(tune.Trainable):
    def setup(self, config):
        self.i = 0
    def step(self):
        self.i += 1
        threading.Event().wait(0.01)
        return {"i": self.i}
    def save_checkpoint(self, checkpoint_dir):
        return {"i": self.i}

def stubborn(config):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "1000"])
    subprocess.Popen(["sleep", "1001"], start_new_session=True)
    tune.report({"i": 1})
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass

grid = tune.Tuner(
    globals()[os.environ["TRAINABLE"]], tune_config=tune.TuneConfig(num_samples=4),
    run_config=tune.RunConfig(name="run", executor=tune.LocalExecutor(num_cpus=2)),
).fit()
print("STATUSES", [result.status for result in grid])
print("CHECKPOINTS", [result.checkpoint is not None for result in grid])
"""


class Run:
    """A script under way."""

    def __init__(self, folder: Path, trainable: str) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = folder / "run"
        self.process = start_script(
            SCRIPT, folder, self.mark, TRAINABLE=trainable, TUNER_STOP_GRACE_S="0.5"
        )
        wait_until(lambda: self.events().count("result") >= 2)

    def events(self) -> list[str]:
        try:
            text = (self.folder / "journal" / "00000001.jsonl").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line)["event"] for line in text.splitlines(keepends=False) if line]

    def last(self) -> dict[str, object]:
        text = (self.folder / "journal" / "00000001.jsonl").read_text()
        last: dict[str, object] = json.loads(text.splitlines()[-1])
        return last

    def end(self) -> str:
        output, _ = self.process.communicate(timeout=30)
        return output


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("trainable", ["polite", "Saved"])
def test_the_first_signal_ends_it_cleanly(
    signum: signal.Signals, trainable: str, tmp_path: Path
) -> None:
    run = Run(tmp_path, trainable)
    run.process.send_signal(signum)
    output = run.end()
    assert run.process.returncode == 0
    assert "STATUSES ['PAUSED', 'PAUSED']" in output
    assert f"CHECKPOINTS {[trainable == 'Saved'] * 2}" in output
    assert run.last()["event"] == "experiment_ended"
    assert run.last()["complete"] is False
    assert marked_processes(run.mark) == []
    rows = [path.read_text().count("\n") for path in run.folder.glob("*/result.json")]
    assert sum(rows) == run.events().count("result")


def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, "stubborn")
    run.process.send_signal(signal.SIGINT)
    wait_until(lambda: "experiment_stopping" in run.events())
    run.process.send_signal(signal.SIGINT)
    output = run.end()
    assert "KeyboardInterrupt" in output
    assert run.process.returncode != 0
    assert marked_processes(run.mark) == []


def test_a_stubborn_trial_and_all_its_children_are_killed(tmp_path: Path) -> None:
    run = Run(tmp_path, "stubborn")
    run.process.send_signal(signal.SIGTERM)
    output = run.end()
    assert "STATUSES ['RUNNING', 'RUNNING']" in output
    assert marked_processes(run.mark) == []


def test_nothing_outlives_a_killed_driver_and_its_files_are_complete(tmp_path: Path) -> None:
    run = Run(tmp_path, "stubborn")
    assert len(marked_processes(run.mark)) >= 7
    run.process.kill()
    run.end()
    wait_until(lambda: marked_processes(run.mark) == [])
    rows = [path.read_text().count("\n") for path in run.folder.glob("*/result.json")]
    assert sum(rows) == run.events().count("result")


def test_children_of_a_trial_end_with_it(tmp_path: Path) -> None:
    from fit_helpers import fit

    def leave_children(config: dict[str, object]) -> dict[str, int]:
        one = subprocess.Popen(["sleep", "1000"])
        other = subprocess.Popen(["sleep", "1001"], start_new_session=True)
        return {"one": one.pid, "other": other.pid}

    (result,) = fit(leave_children, tmp_path)
    for name in ("one", "other"):
        assert not os.path.exists(f"/proc/{result.metrics[name]}")
