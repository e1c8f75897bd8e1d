"""Storage that fails, hangs or disappears while an experiment runs on it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import append, wait_until
from flaky_proxy import Failure, FlakyProxy
from remote_helpers import Place, dirnames, elsewhere, journal, report, rows, start_of
from servers import Bucket

import tuner as tune
from tuner.errors import StorageError
from tuner.filesystems import resolve
from tuner.storage import transfer

SAMPLES = 2


pytestmark = pytest.mark.usefixtures("staging")


@pytest.fixture
def past_proxy(s3_server: Bucket) -> Place:
    """The same place, reached past the proxy."""
    return Place(f"{s3_server.name}/exp", s3_server.filesystem())


def train(config: dict[str, Any]) -> None:
    """Six results; waits at the third one, if it is to, until a file appears."""
    start = start_of()
    append(config["ledger"], f"{start}\n")
    for n in range(start + 1, 7):
        report(n, loss=config["x"] / n)
        if n == 3 and config["gate"]:
            append(f"{config['gate']}.reached", "x")
            while not os.path.exists(config["gate"]):
                threading.Event().wait(0.02)
        if n == 4 and start == 0 and config["fails"]:
            raise RuntimeError("once")


def tuner(
    place: Place,
    tmp_path: Path,
    *,
    gate: str = "",
    fails: bool = False,
    samples: int = SAMPLES,
    **run: Any,
) -> tune.Tuner:
    (tmp_path / "ledger").touch()
    return tune.Tuner(
        train,
        param_space={
            "x": tune.uniform(0, 1),
            "ledger": str(tmp_path / "ledger"),
            "gate": gate,
            "fails": fails,
        },
        tune_config=tune.TuneConfig(num_samples=samples, seed=3),
        run_config=place.run_config(
            **{
                "checkpoint_config": tune.CheckpointConfig(num_to_keep=2),
                "failure_config": tune.FailureConfig(max_failures=1),
                "sync_config": tune.SyncConfig(sync_period=0.3, sync_timeout=30),
                **run,
            }
        ),
    )


def check_complete(place: Place, grid: tune.ResultGrid) -> None:
    assert grid.num_errors == 0
    files = place.files()
    facts = journal(files)
    assert [fact["seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert {"results.parquet", "tuner.pkl", "experiment.json"} <= files.keys()
    for dirname in dirnames(grid):
        assert [row["n"] for row in rows(files, dirname)] == [1, 2, 3, 4, 5, 6]
        kept = {name.split("/")[1] for name in files if name.startswith(f"{dirname}/")}
        checkpoints = {name for name in kept if "checkpoint" in name}
        assert checkpoints == {"checkpoint_000004", "checkpoint_000005"}
        folder = f"{place.child('run')}/{dirname}"
        result = tune.Result.from_path(folder, place.filesystem)
        with result.checkpoint.as_directory() as local:  # type: ignore[union-attr]
            assert Path(local, "n").read_text() == "6"
            assert Path(local, "deep", "weights").read_bytes() == bytes(1000)


@pytest.mark.parametrize("failure", ["503", "reset"])
def test_every_third_request_fails(
    failure: Failure,
    s3_proxy: FlakyProxy,
    place: Place,
    past_proxy: Place,
    tmp_path: Path,
    staging: Path,
) -> None:
    s3_proxy.fail_every(3, failure)
    grid = tuner(place, tmp_path, samples=1).fit()
    assert s3_proxy.failures > 10
    s3_proxy.heal()
    check_complete(past_proxy, grid)
    assert (tmp_path / "ledger").read_text().split() == ["0"]
    assert not [*staging.rglob("*")]


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_storage_that_is_gone_for_a_while(
    fault: str,
    s3_proxy: FlakyProxy,
    place: Place,
    past_proxy: Place,
    tmp_path: Path,
    staging: Path,
) -> None:
    """Training waits for its checkpoint, or goes on; then all is brought there."""
    gate = tmp_path / "gate"

    def disturb() -> None:
        wait_until(lambda: gate.with_suffix(".reached").exists())
        wait_until(lambda: gate.with_suffix(".reached").read_text() == "x" * SAMPLES)
        getattr(s3_proxy, fault)()
        gate.touch()
        threading.Event().wait(2)  # the fault itself has to last
        s3_proxy.heal()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        grid = tuner(place, tmp_path, gate=str(gate)).fit()
    finally:
        thread.join()
        s3_proxy.heal()
    check_complete(past_proxy, grid)
    assert (tmp_path / "ledger").read_text().split() == ["0"] * SAMPLES
    assert not [*staging.rglob("*")]


class Gone:
    """A run at whose third result the storage goes, and does not come back before its end."""

    def __init__(self, proxy: FlakyProxy, place: Place, tmp_path: Path, **config: Any) -> None:
        gate = tmp_path / "gate"

        def disturb() -> None:
            wait_until(lambda: gate.with_suffix(".reached").exists())
            proxy.refuse()
            gate.touch()

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            self.grid = tuner(place, tmp_path, gate=str(gate), **config).fit()
        finally:
            thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers give an upload up at once; they are forked from here, or get it by the module."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("tuner.execution.remote_checkpoint_store._PATIENCE_S", 0.0)


@pytest.mark.usefixtures("impatient")
def test_storage_that_stays_away(
    s3_proxy: FlakyProxy,
    place: Place,
    past_proxy: Place,
    tmp_path: Path,
    staging: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All is kept on this machine and named; a trial is even tried again from what is kept."""
    config = tune.SyncConfig(sync_period=0.3, sync_timeout=5)
    run = {"samples": 1, "executor": "inline", "sync_config": config}
    grid = Gone(s3_proxy, place, tmp_path, fails=True, **run).grid
    assert grid.num_errors == 0
    assert "the upload of journal/" in caplog.text
    assert f"is kept in {staging}" in caplog.text
    assert "a restore on this machine goes on from there, and uploads it" in caplog.text
    assert str(staging) in grid.experiment_path
    for result in grid:
        assert result.metrics_dataframe["n"].tolist() == [1, 2, 3, 4, 5, 6]
        with result.checkpoint.as_directory() as folder:  # type: ignore[union-attr]
            assert Path(folder, "n").read_text() == "6"
    starts = (tmp_path / "ledger").read_text().split()
    assert sorted(starts) == ["0", "4"]
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_ANSWER_TIMEOUT_S", 1.0)
        with pytest.raises(StorageError, match="cannot be read"):
            place.restore()
    assert not [name for name in past_proxy.files() if name.endswith("checkpoint_000005/n")]
    s3_proxy.heal()
    there = past_proxy.files()
    for path in [name for name in there if name.endswith("params.json")]:
        past_proxy.write(path.replace("params", "result"), b"")  # older than what is here
    view = place.restore().get_results()
    assert [result.metrics["n"] for result in view] == [6]
    assert [result.metrics_dataframe["n"].tolist() for result in view] == [[1, 2, 3, 4, 5, 6]]
    grid = place.restore().fit()
    check_complete(past_proxy, grid)
    assert (tmp_path / "ledger").read_text().split() == starts, "nothing ran again"
    assert not [*staging.rglob("*")]
    with elsewhere(tmp_path / "other", monkeypatch):
        check_complete(past_proxy, place.restore().get_results())


def test_a_checkpoint_whose_upload_was_cut_is_not_listed(place: Place, tmp_path: Path) -> None:
    grid = tuner(place, tmp_path).fit()
    folder = f"{place.child('run')}/{dirnames(grid)[0]}"
    fs, path = resolve(folder)
    assert fs is not None
    fs.pipe_file(f"{path}/.checkpoint_000006.attempt1", b"incomplete\n")
    fs.pipe_file(f"{path}/checkpoint_000006/n", b"7")
    result = tune.Result.from_path(folder)
    assert result.checkpoint is not None
    assert result.checkpoint.path.endswith("checkpoint_000005")
    assert [each.path[-1] for each, _ in result.best_checkpoints] == ["4", "5"]
