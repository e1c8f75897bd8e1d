"""Signals, kills and what must not be left running."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
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

def brief(config):
    tune.report({"i": 0})
    while "experiment_stopping" not in open("../journal/00000001.jsonl").read():
        threading.Event().wait(0.01)

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
    run_config=tune.RunConfig(
        name="run", executor="inline" if os.environ["METHOD"] == "inline"
        else tune.LocalExecutor(num_cpus=2, start_method=os.environ["METHOD"]),
    ),
).fit()
print("STATUSES", [result.status for result in grid])
print("CHECKPOINTS", [result.checkpoint is not None for result in grid])
"""


class Run:
    """A script under way."""

    def __init__(self, folder: Path, trainable: str, method: str = "fork") -> None:
        self.mark = uuid.uuid4().hex
        self.folder = folder / "run"
        self.process = start_script(
            SCRIPT,
            folder,
            self.mark,
            TRAINABLE=trainable,
            METHOD=method,
            TUNER_STOP_GRACE_S="0.5",
        )

    def wait_for_results(self) -> None:
        wait_until(lambda: self.events().count("result") >= 2)

    def events(self) -> list[str]:
        try:
            text = (self.folder / "journal" / "00000001.jsonl").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line)["event"] for line in text.split("\n")[:-1]]

    def last(self) -> dict[str, object]:
        text = (self.folder / "journal" / "00000001.jsonl").read_text()
        last: dict[str, object] = json.loads(text.splitlines()[-1])
        return last

    def press_ctrl_c(self) -> None:
        """What a terminal does: it signals every process of the script's group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> str:
        output, _ = self.process.communicate(timeout=240)
        return output

    def clean_up(self) -> None:
        """Leaves nothing behind, also where a test has failed."""
        for pid in marked_processes(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=240)


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    runs: list[Run] = []

    def start(trainable: str, method: str = "fork") -> Run:
        runs.append(Run(tmp_path, trainable, method))
        runs[-1].wait_for_results()
        return runs[-1]

    yield start
    for run in runs:
        run.clean_up()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("trainable", ["polite", "Saved"])
def test_the_first_signal_ends_it_cleanly(
    signum: signal.Signals, trainable: str, start: Start
) -> None:
    run = start(trainable)
    if signum == signal.SIGINT:
        run.press_ctrl_c()
    else:
        run.process.send_signal(signum)
    output = run.end()
    assert run.process.returncode == 0
    assert "STATUSES ['PAUSED', 'PAUSED']" in output
    assert f"CHECKPOINTS {[trainable == 'Saved'] * 2}" in output
    assert run.last()["event"] == "experiment_ended"
    assert run.last()["complete"] is False
    assert not marked_processes(run.mark)
    rows = [path.read_text().count("\n") for path in run.folder.glob("*/result.json")]
    assert sum(rows) == run.events().count("result")


def test_ctrl_c_ends_an_inline_run_at_the_next_report(start: Start) -> None:
    run = start("polite", "inline")
    run.press_ctrl_c()
    output = run.end()
    assert run.process.returncode == 0
    assert "STATUSES ['PAUSED']" in output
    assert run.last()["complete"] is False
    assert list(run.folder.glob("*/unwound"))


def test_the_second_signal_ends_it_at_once(start: Start) -> None:
    run = start("stubborn")
    run.press_ctrl_c()
    wait_until(lambda: "experiment_stopping" in run.events())
    run.press_ctrl_c()
    output = run.end()
    assert "KeyboardInterrupt" in output
    assert run.process.returncode != 0
    assert not marked_processes(run.mark)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_stubborn_trial_and_all_its_children_are_killed(method: str, start: Start) -> None:
    run = start("stubborn", method)
    run.process.send_signal(signal.SIGTERM)
    output = run.end()
    assert "STATUSES ['PAUSED', 'PAUSED']" in output
    assert re.search(
        r"did not within \d+\.\d s, \d+\.\d s of them after SIGTERM, and was killed", output
    )
    assert "memory" not in output
    assert not marked_processes(run.mark)


def test_what_ends_by_itself_after_ctrl_c_is_complete(start: Start) -> None:
    run = start("brief")
    run.press_ctrl_c()
    assert "STATUSES ['TERMINATED', 'TERMINATED']" in run.end()
    assert run.last()["complete"] is False  # two more trials would have run


def test_an_error_before_the_first_launch_is_all_that_is_shown(tmp_path: Path) -> None:
    script = """
import tuner as tune
from tuner.search import Searcher

class Broken(Searcher):
    def suggest(self, trial_id):
        raise RuntimeError("no idea")

tune.Tuner(lambda config: 1, tune_config=tune.TuneConfig(search_alg=Broken())).fit()
"""
    process = start_script(script, tmp_path, uuid.uuid4().hex)
    output, _ = process.communicate(timeout=240)
    assert output.count("Traceback") == 1
    assert output.strip().endswith("RuntimeError: no idea")


def test_a_trial_sees_the_arguments_of_the_script(tmp_path: Path) -> None:
    script = """
import sys
import tuner as tune
sys.argv[1:] = ["--epochs", "3"]
for method in ("fork", "spawn"):
    executor = tune.LocalExecutor(start_method=method)
    (result,) = tune.Tuner(
        lambda config: {"argv": sys.argv},
        run_config=tune.RunConfig(verbose=0, executor=executor),
    ).fit()
    assert result.metrics["argv"] == sys.argv, result.metrics["argv"]
"""
    process = start_script(script, tmp_path, uuid.uuid4().hex)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_nothing_outlives_a_killed_driver_and_its_files_are_complete(
    method: str, start: Start
) -> None:
    run = start("stubborn", method)
    assert len(marked_processes(run.mark)) >= 7
    run.process.kill()
    run.end()
    wait_until(lambda: not marked_processes(run.mark))
    rows = [path.read_text().count("\n") for path in run.folder.glob("*/result.json")]
    assert sum(rows) == run.events().count("result")
