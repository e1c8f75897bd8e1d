from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from tuner.checkpoint import Checkpoint
from tuner.execution.remote_checkpoint_store import RemoteCheckpointStore
from tuner.storage import transfer
from tuner.storage.storage import Storage


class FailingFileSystem(DirFileSystem):
    """A folder of this machine that fails so many times to take files, and then notes markers."""

    failures = 0
    tries = 0
    on_third_try = staticmethod(lambda: None)
    seen: list[list[str]]

    def put(self, *args: object, **kwargs: object) -> object:
        self.tries += 1
        self.seen = [*getattr(self, "seen", []), sorted(self.ls("t", detail=False))]
        if self.tries == 3:
            self.on_third_try()
        if self.tries <= self.failures:
            raise OSError("the storage is broken")
        return super().put(*args, **kwargs)


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FIRST_WAIT_S", 0.001)


@pytest.fixture
def fs(tmp_path: Path) -> FailingFileSystem:
    (tmp_path / "disk").mkdir()
    path = str(tmp_path / "disk")
    return FailingFileSystem(path=path, fs=LocalFileSystem(), skip_instance_cache=True)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / "staging" / "t"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    (tmp_path / "mine" / "n").write_text("1")
    (tmp_path / "mine" / "deep" / "w").write_text("2")
    return Checkpoint.from_directory(tmp_path / "mine")


def store(here: Path, fs: FailingFileSystem, attempt: int = 1) -> RemoteCheckpointStore:
    return RemoteCheckpointStore(str(here), attempt, Storage(fs, "t", fs), 10.0)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


WHOLE = ["deep/w", "n"]


def test_one_is_marked_until_it_is_complete(
    fs: FailingFileSystem, here: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    added = store(here, fs).add(checkpoint, "checkpoint_000001")
    assert (added.path, added.filesystem) == ("t/checkpoint_000001", fs)
    assert "t/.checkpoint_000001.attempt1" in fs.seen[0]
    assert names(tmp_path / "disk") == [f"t/checkpoint_000001/{name}" for name in WHOLE]
    assert names(here) == []


def test_one_that_was_put_together_here_is_moved_there(
    fs: FailingFileSystem, here: Path, tmp_path: Path
) -> None:
    saved = store(here, fs)
    folder = Path(saved.staged("checkpoint_000001"))
    folder.mkdir()
    (folder / "n").write_text("1")
    assert saved.keep("checkpoint_000001").filesystem is fs
    assert names(tmp_path / "disk") == ["t/checkpoint_000001/n"]
    assert not folder.exists()


def test_an_upload_that_fails_is_tried_again(
    fs: FailingFileSystem, here: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    fs.failures = 3
    store(here, fs).add(checkpoint, "checkpoint_000001")
    assert names(tmp_path / "disk" / "t" / "checkpoint_000001") == WHOLE
    assert fs.tries >= 4


def test_one_that_cannot_be_uploaded_stays_here_and_the_next_is_tried_once(
    fs: FailingFileSystem,
    here: Path,
    checkpoint: Checkpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    saved = store(here, fs)
    fs.failures = 10**9
    fs.on_third_try = lambda: setattr(saved, "_patience_s", 0.0)
    kept = saved.add(checkpoint, "checkpoint_000001")
    assert kept.path == str(here / "checkpoint_000001")
    assert names(here / ".checkpoint_000001.attempt1") == WHOLE
    assert f"is kept in {here / 'checkpoint_000001'} and uploaded from there later" in caplog.text
    assert fs.tries == 3
    fs.tries = 0
    saved.add(checkpoint, "checkpoint_000002")
    assert fs.tries == 1, "training goes on at once"
    fs.failures = 0
    assert saved.add(checkpoint, "checkpoint_000003").filesystem is fs
    assert names(tmp_path / "disk" / "t" / "checkpoint_000003") == WHOLE


def test_remains_of_earlier_attempts_are_removed_from_the_first_checkpoint_on(
    fs: FailingFileSystem, here: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    there = tmp_path / "disk" / "t"
    for path in ("checkpoint_000001/n", "checkpoint_000002/old", "checkpoint_000003/old", "own"):
        (there / path).parent.mkdir(parents=True, exist_ok=True)
        (there / path).write_text("x")
    for marker in (".checkpoint_000001.attempt1", ".checkpoint_000003.attempt1"):
        (there / marker).write_text("incomplete\n")
    store(here, fs, attempt=2).add(checkpoint, "checkpoint_000002")
    assert names(there) == [
        ".checkpoint_000001.attempt1",  # is being uploaded from this machine
        "checkpoint_000001/n",
        "checkpoint_000002/deep/w",
        "checkpoint_000002/n",
        "own",
    ]
