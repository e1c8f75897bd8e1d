"""Whole experiments on remote storage, as users run them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
from fit_helpers import wait_until
from flaky_proxy import FlakyProxy
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from remote_helpers import Counter, Place, dirnames, journal, report, train
from servers import S3_KEY, S3_SECRET, Bucket

import tuner as tune
from tuner.schedulers import FIFOScheduler

ODD_NAME = "a run 100%_é [x] a%20b"


pytestmark = pytest.mark.usefixtures("staging")


def memory(request: pytest.FixtureRequest) -> Place:
    return Place(f"memory://{request.getfixturevalue('tmp_path').name}/exp")


def s3(request: pytest.FixtureRequest) -> Place:
    return Place(f"{request.getfixturevalue('s3_server').url}/exp")


def azure(request: pytest.FixtureRequest) -> Place:
    return Place(f"{request.getfixturevalue('azure_server').url}/exp")


def arrow_subtree(request: pytest.FixtureRequest) -> Place:
    root = request.getfixturevalue("tmp_path") / "disk"
    root.mkdir()
    local = pyarrow.fs.LocalFileSystem()
    return Place("exp", pyarrow.fs.SubTreeFileSystem(str(root), local))


def arrow_s3(request: pytest.FixtureRequest) -> Place:
    server = request.getfixturevalue("s3_server")
    filesystem = pyarrow.fs.S3FileSystem(
        access_key=S3_KEY,
        secret_key=S3_SECRET,
        scheme="http",
        region="us-east-1",
        endpoint_override=f"127.0.0.1:{server.port}",
    )
    return Place(f"{server.name}/exp", filesystem)


def arrow_local(request: pytest.FixtureRequest) -> Place:
    root = request.getfixturevalue("tmp_path") / "disk"
    return Place(str(root), pyarrow.fs.LocalFileSystem())


def fsspec_directory(request: pytest.FixtureRequest) -> Place:
    root = request.getfixturevalue("tmp_path") / "disk"
    root.mkdir()
    return Place("exp", DirFileSystem(path=str(root), fs=LocalFileSystem()))


PLACES = [memory, s3, azure, arrow_subtree, arrow_s3, arrow_local, fsspec_directory]


@pytest.fixture(params=PLACES, ids=lambda kind: kind.__name__)
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.param(request)
    return made


def fit(place: Place, trainable: Any = train, run: Any = None, **config: Any) -> tune.ResultGrid:
    return tune.Tuner(
        trainable,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            **{"metric": "loss", "mode": "min", "num_samples": 3, "seed": 5, **config}
        ),
        run_config=place.run_config(**(run or {})),
    ).fit()


def picture(grid: tune.ResultGrid) -> list[Any]:
    """What must not depend on where the results are kept."""
    return [
        (
            result.config,
            result.status,
            result.metrics["n"],
            result.metrics_dataframe[["n", "loss", "training_iteration"]].values.tolist(),
            [checkpoint.path.rpartition("/")[2] for checkpoint, _ in result.best_checkpoints],
        )
        for result in grid
    ]


def test_a_run_is_the_same_everywhere(place: Place, tmp_path: Path, staging: Path) -> None:
    run = {
        "name": ODD_NAME,
        "checkpoint_config": tune.CheckpointConfig(num_to_keep=2),
        "sync_config": tune.SyncConfig(sync_period=0.2),
    }
    grid = fit(place, run=run)
    local = fit(Place(str(tmp_path / "local")), run=run)
    assert picture(grid) == picture(local)
    best = grid.get_best_result()
    assert best.config == local.get_best_result().config
    with best.checkpoint.as_directory() as folder:  # type: ignore[union-attr]
        assert Path(folder, "n").read_text() == "6"
        assert Path(folder, "deep", "weights").read_bytes() == bytes(1000)
    assert grid.to_arrow().num_rows == 18
    assert tune.Tuner.can_restore(place.child(ODD_NAME), place.filesystem)
    assert picture(place.restore(ODD_NAME).get_results()) == picture(local)
    assert place.restore(ODD_NAME).get_results().to_arrow().num_rows == 18
    single = tune.Result.from_path(f"{place.child(ODD_NAME)}/{dirnames(grid)[1]}", place.filesystem)
    assert single.metrics["n"] == 6
    assert len(single.metrics_dataframe) == 6
    assert single.checkpoint.path == grid[1].checkpoint.path  # type: ignore[union-attr]
    check_folder(place.files(ODD_NAME), Place(str(tmp_path / "local")).files(ODD_NAME))
    assert not staging.exists() or not [*staging.rglob("*")]


def check_folder(files: dict[str, bytes], local: dict[str, bytes]) -> None:
    """The same files as on a local disk, but for what only a writer needs there."""
    assert {name for name in map(neutral, files) if not is_of_writer(name)} == {
        name for name in map(neutral, local) if not is_of_writer(name)
    }
    facts = journal(files)
    assert [fact["seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert sum(fact["event"] == "result" for fact in facts) == 18


def neutral(name: str) -> str:
    """A path without what differs from run to run: the ids of trials, and times."""
    if name.startswith("train_"):
        folder, _, inner = name.partition("/")
        number = folder.split("_")[2]
        return f"{number}/{'events' if inner.startswith('events') else inner}"
    return name


def is_of_writer(name: str) -> bool:
    return name.startswith(("journal/", "snapshots/")) or name == ".lock"


def with_files(config: dict[str, Any]) -> None:
    """Files of its own, in folders, some of which do not stay; and output."""
    for n in range(1, 4):
        Path("plots/deep").mkdir(parents=True, exist_ok=True)
        Path("plots/deep", f"{n}.txt").write_text(str(n))
        Path("last.txt").write_text(str(n))
        Path(f"temporary_{n}").write_text("x")
        print("step", n, flush=True)
        tune.report({"n": n, "loss": 1.0})
        Path(f"temporary_{n}").unlink()


@pytest.mark.parametrize("wanted", [False, True])
def test_files_that_trials_write(
    wanted: bool, s3_server: Bucket, staging: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(f"{s3_server.url}/exp")
    sync = tune.SyncConfig(sync_artifacts=wanted, sync_period=0.2)
    grid = fit(place, with_files, {"sync_config": sync, "log_to_file": True}, num_samples=2)
    files = place.files()
    own = {"last.txt": b"3", **{f"plots/deep/{n}.txt": b"%d" % n for n in (1, 2, 3)}}
    for dirname in dirnames(grid):
        assert files[f"{dirname}/stdout"] == b"step 1\nstep 2\nstep 3\n"
        there = {path: files.get(f"{dirname}/{path}") for path in own}
        assert there == (own if wanted else dict.fromkeys(own))
        kept = [*staging.glob(f"*/run/{dirname}/plots/deep/3.txt")]
        assert len(kept) == (not wanted), "what is not on the storage is not deleted"
    assert ("SyncConfig(sync_artifacts=True)" in caplog.text) is not wanted


def waits_for_gate(config: dict[str, Any]) -> None:
    Path("own.txt").write_text("x")
    report(1, loss=1.0)
    while not os.path.exists(config["gate"]):
        threading.Event().wait(0.02)


@pytest.mark.parametrize("on_checkpoint", [True, False])
def test_files_go_with_a_checkpoint(on_checkpoint: bool, s3_server: Bucket, tmp_path: Path) -> None:
    """Long before a period is over, if that is wanted."""
    place = Place(f"{s3_server.url}/exp")
    gate = tmp_path / "gate"
    config = tune.SyncConfig(
        sync_period=2, sync_artifacts=True, sync_artifacts_on_checkpoint=on_checkpoint
    )
    seen: list[bool] = []

    def open_gate() -> None:
        try:
            wait_until(lambda: any(name.endswith("own.txt") for name in place.files()))
            seen.append(True)
        finally:
            gate.touch()

    thread = threading.Thread(target=open_gate)
    thread.start()
    tuner = tune.Tuner(
        waits_for_gate,
        param_space={"gate": str(gate)},
        run_config=place.run_config(sync_config=config),
    )
    grid = tuner.fit()
    thread.join()
    assert seen
    assert grid.num_errors == 0


@pytest.mark.parametrize("kind", ["class", "reused", "inline", "pause"])
def test_every_way_of_training(kind: str, s3_server: Bucket, tmp_path: Path, staging: Path) -> None:
    run: dict[str, Any] = {"stop": {"training_iteration": 3}, "executor": "auto"}
    config: dict[str, Any] = {"num_samples": 2}
    if kind == "inline":
        run["executor"] = "inline"
    elif kind == "reused":
        config["reuse_actors"] = True
    run["checkpoint_config"] = tune.CheckpointConfig(checkpoint_at_end=True)
    grids = []
    for place in (Place(f"{s3_server.url}/exp"), Place(str(tmp_path / "local"))):
        scheduler = PausesOnce() if kind == "pause" else None
        grids.append(fit(place, Counter, run, scheduler=scheduler, **config))
    assert [result.error for result in grids[0]] == [None, None]
    assert picture(grids[0]) == picture(grids[1])
    for result in grids[0]:
        with result.checkpoint.as_directory() as folder:  # type: ignore[union-attr]
            assert Path(folder, "n").read_text() == "3"
    assert not [*staging.rglob("*")]


class PausesOnce(FIFOScheduler):
    """Pauses each trial at its second result."""

    def on_trial_result(self, experiment: Any, trial: Any, result: dict[str, Any]) -> str:
        if result["training_iteration"] == 2 and result["iterations_since_restore"] == 2:
            return self.PAUSE
        return self.CONTINUE


def many(config: dict[str, Any]) -> None:
    for n in range(config["results"]):
        tune.report({"n": n, "loss": 1.0})


def test_the_bytes_that_travel_grow_as_the_results_do(
    s3_server: Bucket, s3_proxy: FlakyProxy
) -> None:
    per_result = {}
    for num_results in (500, 5000):
        before = s3_proxy.bytes_received
        tune.Tuner(
            many,
            param_space={"results": num_results},
            run_config=Place(f"{s3_server.url}/exp").run_config(
                name=f"run_{num_results}", sync_config=tune.SyncConfig(sync_period=0.1)
            ),
        ).fit()
        per_result[num_results] = (s3_proxy.bytes_received - before) / num_results
    assert per_result[5000] < 2 * per_result[500], "a file that grows is sent when it has doubled"
