"""Experiments on remote storage that go on: on the same machine, on another one, a second time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, wait_until
from remote_helpers import Place, dirnames, elsewhere, journal, report, rows, start_of

import tuner as tune
from tuner.callbacks import LoggerCallback
from tuner.errors import ExperimentLockedError

pytestmark = pytest.mark.usefixtures("staging")


class Ledger(LoggerCallback):
    """A logger that keeps no files of the experiment: it is told everything once."""

    in_recorder = True

    def __init__(self, path: str) -> None:
        self.path = path

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        append(self.path, f"{trial.trial_id} {result['n']}\n")


def train(config: dict[str, Any]) -> None:
    """Six results; fails once after the fourth if it is to."""
    start = start_of()
    append(config["ledger"], f"{tune.get_context().get_trial_id()} {start}\n")
    if config["fails"]:
        Path("own.txt").write_text(str(start)) if start == 0 else Path("own.txt").read_text()
    for n in range(start + 1, 7):
        report(n, loss=config["x"] / n)
        if n == 4 and start == 0 and config["fails"]:
            raise RuntimeError("once")


def fit(
    place: Place, tmp_path: Path, *, fails: bool = False, samples: int = 3, **run: Any
) -> tune.ResultGrid:
    (tmp_path / "ledger").touch()
    return tune.Tuner(
        train,
        param_space={
            "x": tune.uniform(0, 1),
            "ledger": str(tmp_path / "ledger"),
            "fails": fails,
        },
        tune_config=tune.TuneConfig(num_samples=samples, seed=3),
        run_config=place.run_config(
            **{
                "callbacks": [Ledger(str(tmp_path / "told"))],
                "checkpoint_config": tune.CheckpointConfig(num_to_keep=1),
                "sync_config": tune.SyncConfig(sync_period=0.5),
                **run,
            }
        ),
    ).fit()


def launches(tmp_path: Path) -> list[str]:
    return (tmp_path / "ledger").read_text().splitlines()


def check_complete(place: Place, grid: tune.ResultGrid) -> None:
    """Every trial's files hold its six results once, and the journal is whole."""
    files = place.files()
    facts = journal(files)
    assert [fact["seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert "results.parquet" in files
    assert ".lock" not in files
    for result, dirname in zip(grid, dirnames(grid), strict=True):
        assert [row["n"] for row in rows(files, dirname)] == [1, 2, 3, 4, 5, 6]
        assert len(files[f"{dirname}/progress.csv"].splitlines()) == 7
        events = [name for name in files if name.startswith(f"{dirname}/events.out.tfevents")]
        assert len(events) == 1
        assert [name for name in files if name.startswith(f"{dirname}/checkpoint")] == [
            f"{dirname}/checkpoint_000005/deep/weights",
            f"{dirname}/checkpoint_000005/n",
        ]
        assert not [name for name in files if name.startswith(f"{dirname}/.")]
        assert result.metrics_dataframe["n"].tolist() == [1, 2, 3, 4, 5, 6]
        assert result.checkpoint is not None
        with result.checkpoint.as_directory() as folder:
            assert Path(folder, "n").read_text() == "6"


@pytest.mark.parametrize("machine", ["same", "other"])
def test_an_experiment_is_extended(
    machine: str, place: Place, tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit(place, tmp_path)
    folder = staging if machine == "same" else tmp_path / "other"
    with elsewhere(folder, monkeypatch):
        grid = place.restore(num_samples=5).fit()
    assert len(grid) == 5
    assert [result.config for result in grid][:3] == [result.config for result in first]
    assert len(launches(tmp_path)) == 5, "no trial that had ended ran again"
    check_complete(place, grid)
    told = (tmp_path / "told").read_text().splitlines()
    assert len(told) == len(set(told)) == 30
    assert not [*folder.rglob("*")]
    with elsewhere(staging, monkeypatch):
        assert len(place.restore().get_results()) == 5
        assert len(place.restore(num_samples=6).fit()) == 6
    assert len(launches(tmp_path)) == 6


def test_a_trial_that_failed_goes_on_elsewhere(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = tune.SyncConfig(sync_artifacts=True)
    grid = fit(place, tmp_path, fails=True, samples=2, sync_config=artifacts)
    assert grid.num_errors == 2
    with elsewhere(tmp_path / "other", monkeypatch):
        grid = place.restore(resume_errored=True).fit()
    assert grid.num_errors == 0
    assert sorted(line.split()[1] for line in launches(tmp_path)) == ["0", "0", "4", "4"]
    check_complete(place, grid)
    told = (tmp_path / "told").read_text().splitlines()
    assert len(told) == len(set(told)) == 12


def test_a_retry_goes_on_from_its_checkpoint(place: Place, tmp_path: Path) -> None:
    grid = fit(
        place,
        tmp_path,
        fails=True,
        samples=2,
        failure_config=tune.FailureConfig(max_failures=1),
    )
    assert grid.num_errors == 0
    assert sorted(line.split()[1] for line in launches(tmp_path)) == ["0", "0", "4", "4"]
    check_complete(place, grid)


def test_an_earlier_run_of_the_same_name_is_kept(place: Place, tmp_path: Path) -> None:
    fit(place, tmp_path, samples=1)
    before = place.files()
    grid = fit(place, tmp_path, samples=2)
    fit(place, tmp_path, samples=1)
    files = place.files()
    for name in ("journal/00000001.jsonl", "tuner.pkl", "experiment.json", "results.parquet"):
        assert files[f"previous/0001/{name}"] == before[name]
        assert f"previous/0002/{name}" in files
    assert len(grid) == 2
    assert len(place.restore().get_results()) == 1
    assert len(launches(tmp_path)) == 4


def test_unnamed_runs_do_not_meet(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.tuner.time.strftime", lambda *_: "now")
    paths = [
        tune.Tuner(lambda config: {"n": 1}, run_config=place.run_config(name=None))
        .fit()
        .experiment_path
        for _ in range(2)
    ]
    first = f"{place.path.removeprefix('s3://')}/lambda_now"
    assert paths == [first, f"{first}_2"]


WRITER = """
import sys, threading
import tuner as tune

def train(config):
    for n in range(100_000):
        tune.report({"n": n})
        threading.Event().wait(0.01)

tune.Tuner(
    train,
    run_config=tune.RunConfig(
        name="run", storage_path=sys.argv[1], verbose=0,
        sync_config=tune.SyncConfig(sync_period=1, sync_timeout=2),
    ),
).fit()
"""


@pytest.fixture
def writer(place: Place, tmp_path: Path) -> Any:
    """A run in another process, of which some is on the storage."""
    path = tmp_path / "writer.py"
    path.write_text(WRITER)
    process = subprocess.Popen([sys.executable, str(path), place.path])
    wait_until(lambda: num_results(place) > 0)
    yield process
    process.kill()
    process.wait()


def num_results(place: Place) -> int:
    files = place.files()
    return sum(content.count(b'"event":"result"') for name, content in files.items() if "/" in name)


@pytest.mark.parametrize("machine", ["same", "other"])
def test_a_second_writer_is_refused_at_once(
    machine: str, writer: Any, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("staging" if machine == "same" else "other")
    new = tune.Tuner(lambda config: {"n": 1}, run_config=place.run_config())
    with elsewhere(folder, monkeypatch):
        attempts: list[Callable[[], Any]] = [new.fit, place.restore().fit]
        for attempt in attempts:
            with pytest.raises(
                ExperimentLockedError,
                match=rf"being written to by process {writer.pid} on \S+ since \d+-\d+-\d+ \d",
            ):
                attempt()
        assert len(place.restore().get_results()) == 1
    before = num_results(place)
    wait_until(lambda: num_results(place) > before)
    assert writer.poll() is None


def test_the_journal_on_the_storage_follows_a_trial_that_runs(writer: Any, place: Place) -> None:
    """At most a sync_period of 1 s behind, plus an upload on a busy machine; the default is 300."""
    for _ in range(4):
        before = num_results(place)
        wait_until(lambda before=before: num_results(place) > before)  # type: ignore[misc]
        assert time.time() - journal(place.files())[-1]["time"] < 30
