"""An experiment's folder has one writer at a time, and any number of readers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, run_script, start_script, wait_until

import tuner as tune
from tuner.errors import ExperimentLockedError
from tuner.experiment import folder as folder_module

SCRIPT = """
import os, threading
import tuner as tune

def train(config):
    for n in range(1, 401):
        while n > 50 * os.path.getsize(config["gate"]):
            threading.Event().wait(0.01)
        tune.report({"n": n})
        threading.Event().wait(0.002)

gate = os.path.abspath("gate")
tuner = tune.Tuner(
    train, param_space={"gate": gate}, tune_config=tune.TuneConfig(num_samples=4),
    run_config=tune.RunConfig(name="run", verbose=0),
)
"""

LIVE = SCRIPT + "tuner.fit()\n"

SECOND = (
    SCRIPT.replace("verbose=0", "verbose=0, storage_path=os.environ['FOLDER']")
    + """
from tuner.errors import ExperimentLockedError
from tuner.experiment import folder as folder_module
for attempt in (tuner.fit, tune.Tuner.restore(os.environ["FOLDER"] + "/run").fit):
    try:
        attempt()
    except ExperimentLockedError as error:
        print(error)
"""
)

FORKS = (
    SCRIPT
    + """
import multiprocessing, time
class ForksAtFirst(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        note = os.path.join(trial.experiment_path, "child")
        if not os.path.exists(note):
            context = multiprocessing.get_context("fork")
            child = context.Process(target=time.sleep, args=(1000,), daemon=True)
            child.start()
            open(note, "w").write(str(child.pid))
tune.Tuner(
    train, param_space={"gate": gate},
    run_config=tune.RunConfig(name="run", verbose=0, callbacks=[ForksAtFirst()])
).fit()
"""
)


class Live:
    """A run in another process, whose trials stop at every 50th of 400 results until let on."""

    def __init__(self, folder: Path, script: str = LIVE) -> None:
        self.path = folder / "run"
        self._gate = folder / "gate"
        self._gate.touch()
        self.let_on()
        self.process = start_script(script, folder, uuid.uuid4().hex)
        wait_until(lambda: self.num_results() > 10)

    def let_on(self, times: int = 1) -> None:
        append(str(self._gate), "x" * times)

    def num_results(self) -> int:
        try:
            text = (self.path / "journal" / "00000001.jsonl").read_text()
        except FileNotFoundError:
            return 0
        return text.count('"event":"result"')


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    run = Live(tmp_path)
    yield run
    run.process.kill()
    run.process.communicate(timeout=240)


def holder(live: Live) -> str:
    return (
        rf"run is being written to by process {live.process.pid} on "
        rf"{re.escape(socket.gethostname())} since \d+-\d+-\d+ \d+:\d+:\d+; wait for it to end"
    )


def test_another_process_is_refused_at_once_and_told_who_writes(live: Live, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    environ = {**os.environ, "FOLDER": str(tmp_path)}
    output = run_script(SECOND, tmp_path / "other", environ=environ)
    assert len(re.findall(holder(live), output)) == 2
    assert live.process.poll() is None
    assert not (live.path / "previous").exists()


def test_a_live_run_can_be_looked_at(live: Live) -> None:
    """As often as one likes; nobody is disturbed, and what was seen never goes away."""
    seen = [0]
    while live.process.poll() is None:
        assert tune.Tuner.can_restore(live.path)
        grid = tune.Tuner.restore(live.path).get_results()
        seen.append(sum(result.metrics.get("n", 0) for result in grid))
        if seen[-1] > seen[-2]:
            live.let_on()
    output, _ = live.process.communicate(timeout=240)
    assert live.process.returncode == 0, output
    assert len(set(seen)) > 5
    assert seen == sorted(seen)
    grid = tune.Tuner.restore(live.path).get_results()
    assert [result.metrics["n"] for result in grid] == [400] * 4
    assert "torn" not in output


def test_a_thread_of_the_same_process_is_refused(tmp_path: Path) -> None:
    is_running, is_refused = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    class Waits(tune.Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            is_running.set()
            assert is_refused.wait(120)

    def tuner(*callbacks: tune.Callback) -> tune.Tuner:
        return tune.Tuner(
            lambda config: {"x": 1},
            run_config=tune.RunConfig(
                name="run", storage_path=str(tmp_path), verbose=0, callbacks=list(callbacks)
            ),
        )

    def intrude() -> None:
        try:
            assert is_running.wait(120)
            for attempt in (tuner(), tune.Tuner.restore(tmp_path / "run")):
                try:
                    attempt.fit()
                except ExperimentLockedError as error:
                    errors.append(error)
        finally:
            is_refused.set()

    thread = threading.Thread(target=intrude)
    thread.start()
    grid = tuner(Waits()).fit()
    thread.join()
    assert [f"process {os.getpid()} on" in str(error) for error in errors] == [True, True]
    assert grid[0].metrics["x"] == 1


@pytest.mark.parametrize("way", ["fit", "restore"])
def test_the_lock_of_a_killed_process_is_taken_over(way: str, live: Live) -> None:
    reached = live.num_results()
    live.process.kill()
    live.process.wait()
    assert f"process {live.process.pid} on" in (live.path / ".lock").read_text()
    if way == "restore":
        live.let_on(8)
        grid = tune.Tuner.restore(live.path).fit()
        assert [result.metrics["n"] for result in grid] == [400] * 4
        return
    tune.Tuner(
        lambda config: {"x": 1},
        run_config=tune.RunConfig(name="run", storage_path=str(live.path.parent), verbose=0),
    ).fit()
    earlier = live.path / "previous" / "0001" / "journal" / "00000001.jsonl"
    lines = [json.loads(line) for line in earlier.read_bytes().splitlines(keepends=True)[:-1]]
    assert sum(line["event"] == "result" for line in lines) >= reached - 1


def test_a_child_that_outlives_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    run = Live(tmp_path, FORKS)
    note = run.path / "child"
    wait_until(lambda: note.exists() and bool(note.read_text()))
    child = int(note.read_text())
    run.process.kill()
    run.process.wait()
    try:
        os.kill(child, 0)
        run.let_on(8)
        (result,) = tune.Tuner.restore(run.path).fit()
        assert result.metrics["n"] == 400
    finally:
        os.kill(child, signal.SIGKILL)
        run.process.communicate(timeout=240)


def test_a_recorder_that_hangs_does_not_keep_a_restore_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_RECORDER_TIMEOUT_S", 0.1)
    lock = tmp_path / "journal" / "recorder.lock"
    lock.parent.mkdir()
    code = (
        "import fcntl, os, sys, time\n"
        "file = open(sys.argv[1], 'a+')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "file.write(str(os.getpid()))\n"
        "file.flush()\n"
        "time.sleep(60)\n"
    )
    hanging = subprocess.Popen([sys.executable, "-c", code, str(lock)])
    wait_until(lambda: lock.exists() and lock.read_text() == str(hanging.pid))
    folder = folder_module.ExperimentFolder(str(tmp_path))
    folder.await_recorder()
    assert hanging.wait(60) == -signal.SIGKILL
    folder.release()
