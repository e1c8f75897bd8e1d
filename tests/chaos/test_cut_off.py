"""A worker that is cut off while its trial is launched again: what it says then is refused."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from experiment import note
from harness import DEADLINE_S, FORK_SERVER, NUM_TRIALS, Chaos, wait_until
from verdict import judge

import tuner as tune
from tuner.experiment.events import Failed, Reported, Stimulus


def stop_a_worker(chaos: Chaos) -> tuple[int, str]:
    """Freezes one that trains, of an experiment that is held; its process and its trial."""
    wait_until(lambda: bool(chaos.workers()))
    pid = chaos.workers()[-1]
    os.kill(pid, signal.SIGSTOP)
    chaos.release()
    (trial,) = {line[1] for line in chaos.ledger() if line[0] == "started" and int(line[2]) == pid}
    return pid, trial


def starts(chaos: Chaos, trial: str) -> int:
    return sum(line[:2] == ["started", trial] for line in chaos.ledger())


def test_a_trial_is_not_launched_again_while_its_worker_lives(tmp_path: Path) -> None:
    with Chaos(tmp_path / "fifo", "fifo") as chaos:
        chaos.hold()
        chaos.start()
        pid, trial = stop_a_worker(chaos)
        others = NUM_TRIALS - 1
        wait_until(lambda: sum(line[0] == "ended" for line in chaos.ledger()) == others)
        assert starts(chaos, trial) == 1
        os.kill(pid, signal.SIGCONT)
        chaos.finish()
        assert starts(chaos, trial) == 1
        verdict = judge(chaos)
        assert verdict.is_clean, verdict


def test_a_worker_that_cannot_hear_is_killed_before_the_experiment_ends(tmp_path: Path) -> None:
    with Chaos(tmp_path / "fifo", "fifo") as chaos:
        chaos.hold()
        chaos.start({"TUNER_STOP_GRACE_S": "0.2"})
        _, trial = stop_a_worker(chaos)
        chaos.process.terminate()
        assert chaos.process.wait(DEADLINE_S) == 0
        assert not chaos.left_running()
        chaos.start()
        chaos.finish()
        assert starts(chaos, trial) == 2
        verdict = judge(chaos)
        assert verdict.is_clean, verdict


def test_one_that_sleeps_through_a_restore_finds_nobody(tmp_path: Path) -> None:
    with Chaos(tmp_path / "fifo", "fifo") as chaos:
        chaos.hold()
        chaos.start()
        pid, trial = stop_a_worker(chaos)
        forks = psutil.Process(chaos.process.pid).children()
        (fork_server,) = {fork.pid for fork in forks} & set(chaos.running(FORK_SERVER))
        os.kill(fork_server, signal.SIGSTOP)  # or it would kill its workers when the driver dies
        chaos.kill("driver")
        chaos.start()
        wait_until(lambda: starts(chaos, trial) == 2)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: pid not in chaos.left_running())
        os.kill(fork_server, signal.SIGCONT)
        chaos.finish()
        chaos.start()  # removes a checkpoint that it may have copied in its last moment
        chaos.finish()
        assert starts(chaos, trial) == 2
        verdict = judge(chaos)
        assert verdict.is_clean, verdict


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def train_twice(config: dict[str, Any]) -> None:
    """The first attempt reports once, and again when the second one has begun.

    The second one waits until that has come to the controller, which writes `heard`.
    """
    folder, attempt = Path(config["folder"]), tune.get_context().attempt
    note(str(folder), "started", attempt)
    for n in range(1, 4):
        if (attempt, n) == (1, 2):
            wait_for(folder / "second")
        if (attempt, n) == (2, 1):
            (folder / "second").touch()
            wait_for(folder / "heard")
        with tempfile.TemporaryDirectory() as path:
            Path(path, "attempt").write_text(str(attempt))
            tune.report({"n": n, "of": attempt}, checkpoint=tune.Checkpoint(path))
        note(str(folder), "reported", attempt, n)


class CutOff(tune.LocalExecutor):
    """Takes the first worker for lost as soon as it has reported, and then hears of it again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(num_cpus=2)
        self.folder = folder

    def wait(self, timeout: float | None) -> list[Stimulus]:
        stimuli = super().wait(timeout)
        for stimulus in [*stimuli]:
            if isinstance(stimulus, Reported) and stimulus.attempt == 1:
                if stimulus.result["n"] == 1:
                    lost = Failed(stimulus.time, stimulus.trial_id, 1, "the node was cut off")
                    stimuli.append(lost)
                else:
                    (self.folder / "heard").touch()
        return stimuli


def test_what_it_reports_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (result,) = tune.Tuner(
        train_twice,
        param_space={"folder": str(tmp_path)},
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(tmp_path),
            verbose=0,
            executor=CutOff(tmp_path),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    lines = (tmp_path / "ledger").read_text().splitlines()
    assert "reported 1 1" in lines
    assert "reported 1 2" not in lines
    assert "refused a message of its attempt 1, which is over" in caplog.text
    facts = map(json.loads, (tmp_path / "run/journal/00000001.jsonl").read_text().splitlines())
    reports = [(f["attempt"], f["result"]["n"]) for f in facts if f["event"] == "result"]
    assert reports == [(1, 1), (2, 1), (2, 2), (2, 3)]
    assert len(result.best_checkpoints) == 4
    checkpoints = sorted(Path(result.path).glob("checkpoint_*"))
    assert [(path / "attempt").read_text() for path in checkpoints] == ["1", "2", "2", "2"]
    assert not list(Path(result.path).glob(".checkpoint_*"))
