"""What a loss of power may cost: counted by the calls that bring files to the disk."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from experiment import note

import tuner as tune

SECONDS = 3.5
MANY = 20
SLACK_S = 2.0  # that a busy machine may be late
TICK_S = 0.02


@contextlib.contextmanager
def longest_pause() -> Iterator[Callable[[], float]]:
    """Tells for how long a thread of this process did not get its turn, in seconds."""
    pauses = [0.0]
    is_over = threading.Event()

    def tick() -> None:
        while not is_over.is_set():
            before = time.monotonic()
            is_over.wait(TICK_S)
            pauses.append(time.monotonic() - before - TICK_S)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield lambda: max(pauses)
    finally:
        is_over.set()
        thread.join()


def note_syncs(folder: str) -> Any:
    """A stand-in for `os.fsync` that calls it and notes for what."""
    fsync = os.fsync

    def noting(fd: int) -> None:
        path, began = os.readlink(f"/proc/self/fd/{fd}"), time.time()
        fsync(fd)
        note(folder, "synced", began, time.time(), path)

    return noting


def report_for_a_while(config: dict[str, Any]) -> None:
    end = time.monotonic() + SECONDS
    for n in itertools.count():
        if n > MANY and time.monotonic() > end:
            return
        time.sleep(0.005)
        tune.report({"n": n})


def save(folder: Path, n: int) -> None:
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    for name in ("a", "deep/b"):
        (folder / name).write_text(str(n))


def report_checkpoints(config: dict[str, Any]) -> None:
    os.fsync = note_syncs(config["folder"])
    for n in range(3):
        save(Path("saved"), n)
        note(config["folder"], "reports", n)
        tune.report({"n": n}, checkpoint=tune.Checkpoint("saved"))
        note(config["folder"], "reported", n)


class Saved(tune.Trainable):
    """The same as a class, which learns that a result was reported by its next call."""

    def setup(self, config: dict[str, Any]) -> None:
        os.fsync = note_syncs(config["folder"])

    def step(self) -> dict[str, Any]:
        if self.iteration:
            note(self.config["folder"], "reported", self.iteration - 1)
        note(self.config["folder"], "reports", self.iteration)
        return {"done": self.iteration == 2}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        save(Path(checkpoint_dir), self.iteration)

    def cleanup(self) -> None:
        note(self.config["folder"], "reported", self.iteration - 1)


def ledger_of(train: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Runs one trial, and returns what it and the driver have noted."""
    monkeypatch.setattr(os, "fsync", note_syncs(str(folder)))
    checkpoints = tune.CheckpointConfig(checkpoint_frequency=int(isinstance(train, type)))
    tune.Tuner(
        train,
        param_space={"folder": str(folder)},
        run_config=tune.RunConfig(
            name="run", storage_path=str(folder), verbose=0, checkpoint_config=checkpoints
        ),
    ).fit()
    return [line.split(" ") for line in (folder / "ledger").read_text().splitlines()]


def test_results_reach_the_disk_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with longest_pause() as paused_s:
        lines = ledger_of(report_for_a_while, tmp_path, monkeypatch)
        late_s = SLACK_S + paused_s()
    journal = tmp_path / "run" / "journal" / "00000001.jsonl"
    synced = [(float(line[1]), float(line[2])) for line in lines if line[-1] == str(journal)]
    facts = map(json.loads, journal.read_text().splitlines())
    times = [fact["time"] for fact in facts if fact["event"] == "result"]
    assert len(times) > MANY
    for reported in times:
        free = max([reported, *(ended for began, ended in synced if began <= reported)])
        assert any(reported < began < free + 1 + late_s for began, _ in synced)
    assert len(synced) < 3 * (synced[-1][1] - synced[0][0]) + 3  # so not for each of them


@pytest.mark.parametrize("train", [report_checkpoints, Saved])
def test_a_checkpoint_is_on_the_disk_when_report_returns(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ledger_of(train, tmp_path, monkeypatch)
    (trial,) = (path.parent for path in tmp_path.glob("run/*/params.json"))
    for n in range(3):
        begin, end = lines.index(["reports", str(n)]), lines.index(["reported", str(n)])
        synced = [line[-1] for line in lines[begin:end]]
        staged = f"{trial}/.checkpoint_{n:06d}.attempt1"
        files = [f"{staged}/a", f"{staged}/deep/b", f"{staged}/deep", staged, str(trial)]
        journal = str(tmp_path / "run" / "journal" / "00000001.jsonl")
        assert {*files, str(tmp_path / "run")} <= set(synced)
        assert synced[-1] == journal


def test_what_a_restore_needs_is_on_the_disk_before_the_first_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ledger_of(report_checkpoints, tmp_path, monkeypatch)
    run = tmp_path / "run"
    synced = [line[-1] for line in lines[: lines.index(["reports", "0"])]]
    assert {str(run / "tuner.pkl.part"), str(run / "experiment.json.part")} <= set(synced)
    assert {str(tmp_path), str(run), str(run / "journal")} <= set(synced)
