"""Whole experiments on remote storage, as users run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from remote_helpers import Place, dirnames, journal, train
from servers import S3_KEY, S3_SECRET

import tuner as tune

ODD_NAME = "a run 100%_é [x] a%20b"


@pytest.fixture(autouse=True)
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where experiments are staged; nothing may stay there."""
    path = tmp_path / "staging"
    monkeypatch.setenv("TUNER_STAGING_DIR", str(path))
    return path


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
