"""Disks that are full, read-only, or no longer to be written to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append

import tuner as tune
from tuner.errors import StorageError
from tuner.experiment.events import TrialCreated, TrialEnded, TrialLaunched, TrialResult
from tuner.experiment.journal_writer import JournalWriter
from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.json import JsonLoggerCallback
from tuner.recording.process import RecorderProcess

NUM_RESULTS = 40
FULL = "No space left on device"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tuner-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted, which takes root: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leaves not a byte of room."""
    path = folder / "filler"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1024 * 1024, 1):
            with pytest.raises(OSError, match=FULL):
                _write_without_end(fd, b"x" * size)
    finally:
        os.close(fd)
    return path


def _write_without_end(fd: int, data: bytes) -> None:
    while True:
        os.write(fd, data)


def train(config: dict[str, Any]) -> None:
    start = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = int(Path(folder, "n").read_text())
    for n in range(start + 1, NUM_RESULTS + 1):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "n").write_text(str(n))
            checkpoint = tune.Checkpoint.from_directory(folder)
            metrics = {"n": n, "text": "x" * 1000}
            tune.report(metrics, checkpoint=checkpoint if n % 5 == 0 else None)
        append(config["ledger"], f"{tune.get_context().get_trial_id()} {n}\n")


class Fault(tune.Callback):
    """Has something happen once, when so many results are in, and notes which trials end."""

    def __init__(self, at: int, ledger: str, happen: Any) -> None:
        self.at = at
        self.ledger = ledger
        self.happen = happen

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any):
        self.at -= 1
        if self.at == 0 and not os.path.exists(f"{self.ledger}.happened"):
            append(f"{self.ledger}.happened", "")
            self.happen()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        append(self.ledger, f"{trial.trial_id} ended\n")


def tuner(storage: Path, ledger: Path, *callbacks: tune.Callback) -> tune.Tuner:
    return tune.Tuner(
        train,
        param_space={"ledger": str(ledger)},
        tune_config=tune.TuneConfig(num_samples=6, max_concurrent_trials=2),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(storage),
            verbose=0,
            callbacks=list(callbacks),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    )


def results_in_journal(run: Path) -> list[dict[str, Any]]:
    whole = [
        json.loads(line)
        for segment in sorted((run / "journal").glob("*.jsonl"))
        for line in segment.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]
    return [fact for fact in whole if fact["event"] == "result"]


def nothing_is_lost(run: Path, ledger: Path) -> None:
    """What was acknowledged is there, then all that is missing, each once."""
    noted = [line.split() for line in ledger.read_text().splitlines()]
    reached: dict[str, int] = {}
    for trial, what in noted:
        if what.isdecimal():
            reached[trial] = max(reached.get(trial, 0), int(what))
    # In the journal: a restore that found room for a launch alone has made results void.
    stored = {(fact["trial_id"], fact["result"]["n"]) for fact in results_in_journal(run)}
    assert reached
    assert {(trial, n) for trial, last in reached.items() for n in range(1, last + 1)} <= stored
    ended = {trial for trial, what in noted if what == "ended"}
    assert ended

    # A checkpoint that found no room has failed its trial.
    grid = tune.Tuner.restore(run, resume_errored=True).fit()
    again = [line.split()[0] for line in ledger.read_text().splitlines()[len(noted) :]]
    assert not ended & set(again), "no finished trial runs again"
    assert [result.status for result in grid] == ["TERMINATED"] * 6
    for result in grid:
        lines = Path(result.path, "result.json").read_text().splitlines()
        rows = [json.loads(line)["n"] for line in lines]
        assert rows == result.metrics_dataframe["n"].tolist() == [*range(1, NUM_RESULTS + 1)]
        assert not list(Path(result.path).glob(".checkpoint*"))
    assert len(grid.to_arrow()) == 6 * NUM_RESULTS


@pytest.mark.parametrize("at", [90, 91, 100, 113])
def test_a_disk_that_is_full_in_the_middle(
    at: int, disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = tmp_path / "ledger"
    with pytest.raises(StorageError, match=rf"jsonl cannot be written to \({FULL}\)") as raised:
        tuner(disk, ledger, Fault(at, str(ledger), lambda: fill(disk))).fit()
    assert f'Tuner.restore("{disk}/run").fit()' in str(raised.value)
    assert FULL in caplog.text, "what the recorder could not write is told"
    (disk / "filler").unlink()
    nothing_is_lost(disk / "run", ledger)


def test_a_restore_needs_room_too(disk: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with pytest.raises(StorageError, match=FULL):
        tuner(disk, ledger, Fault(90, str(ledger), lambda: fill(disk))).fit()
    for _ in range(2):
        with pytest.raises(StorageError, match=FULL):
            tune.Tuner.restore(disk / "run").fit()
    (disk / "filler").unlink()
    nothing_is_lost(disk / "run", ledger)


@pytest.mark.parametrize("kind", ["function", "class"])
def test_a_checkpoint_that_finds_no_room_is_a_failure_of_its_trial(
    kind: str, disk: Path, tmp_path: Path
) -> None:
    def save(config: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory(dir=config["outside"]) as folder:
            Path(folder, "weights").write_bytes(os.urandom(config["size"]))
            tune.report({"n": 1}, checkpoint=tune.Checkpoint.from_directory(folder))

    class Saves(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"n": 1, "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            Path(checkpoint_dir, "weights").write_bytes(os.urandom(self.config["size"]))

    grid = tune.Tuner(
        save if kind == "function" else Saves,
        param_space={
            "size": tune.grid_search([1000, 20_000_000, 2000]),
            "outside": str(tmp_path),
        },
        tune_config=tune.TuneConfig(max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(disk), verbose=0),
    ).fit()
    assert [result.status for result in grid] == ["TERMINATED", "ERROR", "TERMINATED"]
    text = str(grid[1].error)
    assert FULL in text
    assert f"checkpoint_000000 was not saved in {grid[1].path}" in text
    assert grid[1].checkpoint is None
    assert not list(Path(grid[1].path).glob("*checkpoint*"))
    assert shutil.disk_usage(disk).free > 6_000_000
    assert all(grid[number].checkpoint for number in (0, 2))


def test_files_that_found_no_room_are_completed_later(disk: Path, tmp_path: Path) -> None:
    """The journal is complete, but what the recorder writes from it is not."""
    run = disk / "run"
    journal = JournalWriter(str(run))
    journal.append(
        [
            TrialCreated(1.0, "a", 0, "train", "", "0", "train_a", {}, {}, [{"CPU": 1}]),
            TrialLaunched(1.0, "a", 1, None, 0),
            *(
                TrialResult(1.0, "a", 1, "CONTINUE", None, {"training_iteration": n, "x": "x" * 99})
                for n in range(1, 2001)
            ),
            TrialEnded(1.0, "a", 1, "TERMINATED", None),
        ]
    )
    journal.close()
    path = fill(disk)
    os.truncate(path, path.stat().st_size - 300_000)
    loggers = [CSVLoggerCallback(), JsonLoggerCallback()]
    process = RecorderProcess(str(run), loggers)
    process.start()
    messages = "\n".join(process.finish(60))
    assert FULL in messages
    assert f'Tuner.restore("{run}").fit() completes its files' in messages
    path.unlink()
    process = RecorderProcess(str(run), loggers)
    process.start()
    assert process.finish(60) == []
    rows = (run / "train_a" / "result.json").read_text().splitlines()
    assert [json.loads(row)["training_iteration"] for row in rows] == [*range(1, 2001)]
    assert len((run / "train_a" / "progress.csv").read_text().splitlines()) == 2001
    assert (run / "results.parquet").exists()


def test_a_disk_that_is_read_only_from_the_start(disk: Path, tmp_path: Path) -> None:
    (disk / "there" / "run").mkdir(parents=True)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    ledger = tmp_path / "ledger"
    for storage, use in ((disk, "made"), (disk / "there", "written")):
        words = rf"storage_path: '{storage}/run' cannot be {use} \(Read-only file system\); give a"
        with pytest.raises(StorageError, match=words):
            tuner(storage, ledger).fit()
    assert not ledger.exists()


def test_an_experiment_on_a_disk_that_has_become_read_only(disk: Path, tmp_path: Path) -> None:
    """Its results can be read."""
    ledger = tmp_path / "ledger"
    grid = tuner(disk, ledger).fit()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    restored = tune.Tuner.restore(disk / "run")
    assert [result.metrics for result in restored.get_results()] == [r.metrics for r in grid]
    with pytest.raises(StorageError, match="Read-only file system"):
        restored.fit()


def test_permission_to_write_that_is_lost_in_the_middle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The files become immutable, which binds also those who have them open, and root."""
    probe = tmp_path / "probe"
    probe.touch()
    if subprocess.run(["chattr", "+i", str(probe)], capture_output=True).returncode:
        pytest.skip("files cannot be made immutable here, which takes root and ext4 or the like")
    subprocess.run(["chattr", "-i", str(probe)], check=True)
    run, ledger = tmp_path / "run", tmp_path / "ledger"
    frozen: list[str] = []

    def freeze() -> None:
        frozen.extend(str(path) for path in [*run.rglob("*.jsonl"), *run.rglob("result.json")])
        subprocess.run(["chattr", "+i", *frozen], check=True)

    try:
        with pytest.raises(StorageError, match=r"jsonl cannot be written to \(Operation not perm"):
            tuner(tmp_path, ledger, Fault(90, str(ledger), freeze)).fit()
    finally:
        subprocess.run(["chattr", "-i", *frozen], check=True)
    nothing_is_lost(run, ledger)
