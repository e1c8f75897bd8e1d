"""Checkpoints of trials whose node does not see the trial's folder."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cutting_proxy import CuttingProxy
from fit_helpers import wait_until
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from tuner.checkpoint import Checkpoint
from tuner.errors import StorageError
from tuner.execution import remote_checkpoint_store, sent_checkpoint_store
from tuner.execution.remote_checkpoint_store import RemoteCheckpointStore
from tuner.execution.sent_checkpoint_store import SentCheckpointStore
from tuner.storage import file_client, transfer
from tuner.storage.file_server import FileServer
from tuner.storage.served_files import ServedFileSystem
from tuner.storage.served_protocol import Secret
from tuner.storage.storage import Storage

NAME = "checkpoint_000001"
STAGED = f".{NAME}.attempt2"
WHOLE = {"n": b"1", "deep/w": os.urandom(3_000_000)}


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_client, "_WAITS_S", ())
    monkeypatch.setattr(transfer, "_FIRST_WAIT_S", 0.001)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The trial's folder on the controller's node."""
    path = tmp_path / "experiment" / "t"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint.from_directory(written(tmp_path / "mine"))


def written(folder: Path) -> Path:
    for name, content in WHOLE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "empty").mkdir()
    return folder


def read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def store(here: Path, fs: ServedFileSystem, there: Path) -> SentCheckpointStore:
    return SentCheckpointStore(str(here), 2, Storage(fs, str(there)), 120.0)


def test_one_that_is_reported_is_staged_there(
    here: Path, there: Path, server: FileServer, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    added = store(here, server.filesystem, there).add(checkpoint, NAME)
    assert os.listdir(there) == [STAGED]
    assert os.listdir(here) == []
    assert read(there / STAGED) == WHOLE
    assert (there / STAGED / "empty").is_dir()
    os.rename(there / STAGED, there / NAME)  # as the controller does
    assert added == Checkpoint(there / NAME, server.filesystem)
    with added.as_directory() as folder:
        assert read(Path(folder)) == WHOLE
    assert read(Path(added.to_directory(tmp_path / "copy"))) == WHOLE
    with Checkpoint.from_directory(tmp_path / "copy").as_directory() as folder:
        assert read(Path(folder)) == WHOLE


def test_one_that_was_put_together_here_is_moved_there(
    here: Path, there: Path, server: FileServer
) -> None:
    sent = store(here, server.filesystem, there)
    written(Path(sent.staged(NAME)))
    assert sent.keep(NAME).path == str(there / NAME)
    assert read(there) == {f"{STAGED}/{name}": content for name, content in WHOLE.items()}
    assert os.listdir(here) == []


def test_one_without_files_is_there_all_the_same(
    here: Path, there: Path, server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    store(here, server.filesystem, there).add(Checkpoint(tmp_path / "nothing"), NAME)
    assert (there / STAGED).is_dir()


def test_what_an_earlier_try_has_left_is_no_part_of_it(
    here: Path, there: Path, server: FileServer, checkpoint: Checkpoint
) -> None:
    (there / STAGED / "deep").mkdir(parents=True)
    (there / STAGED / "deep/old").write_text("old")
    store(here, server.filesystem, there).add(checkpoint, NAME)
    assert read(there / STAGED) == WHOLE


@pytest.mark.parametrize("sent", [1, 500_000, 2_999_000])
def test_one_that_is_cut_off_is_sent_again(
    here: Path, there: Path, server: FileServer, checkpoint: Checkpoint, sent: int
) -> None:
    with CuttingProxy(server.address) as proxy:
        fs = ServedFileSystem(*proxy.address, Secret(b"s" * 32))
        proxy.cut_after(sent=sent)
        store(here, fs, there).add(checkpoint, NAME)
        assert proxy.has_cut
    assert read(there / STAGED) == WHOLE


def test_one_that_cannot_be_sent_is_an_error_and_nothing_is_left_of_it(
    here: Path,
    there: Path,
    server: FileServer,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sent_checkpoint_store, "_PATIENCE_S", 0.05)
    there.rmdir()
    there.write_text("a file")
    sent = store(here, server.filesystem, there)
    with pytest.raises(StorageError, match=f"sending {NAME} to tuner-served://.* failed") as caught:
        sent.add(checkpoint, NAME)
    assert caught.value.__notes__ == [f"{NAME} was not saved in {there}"]
    written(Path(sent.staged(NAME)))
    with pytest.raises(StorageError), sent.discarding_failures(NAME):
        sent.keep(NAME)
    assert os.listdir(here) == []


def test_a_full_disk_there_is_emptied_of_it_at_once(
    here: Path,
    there: Path,
    server: FileServer,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psutil

    monkeypatch.setattr(sent_checkpoint_store, "_PATIENCE_S", 0.05)
    assert server.address
    psutil.Process(server.pid).rlimit(psutil.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    with pytest.raises(StorageError, match="File too large"):
        store(here, server.filesystem, there).add(checkpoint, NAME)
    assert os.listdir(there) == []


def test_a_server_that_is_killed_and_revived_leaves_no_trace(
    here: Path, there: Path, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_client, "_WAITS_S", (0.0, *[0.05] * 100))
    (tmp_path / "large").mkdir()
    contents = {f"{n:03d}": os.urandom(300_000) for n in range(100)}
    for name, content in contents.items():
        (tmp_path / "large" / name).write_bytes(content)
    kills, numbers = [1, 50, 90], dict[str, int]()
    put_file = ServedFileSystem.put_file

    def no_faster(fs: ServedFileSystem, lpath: str, rpath: str, **kwargs: Any) -> None:
        number = numbers.setdefault(lpath, len(numbers))
        wait_until(lambda: not kills or number < kills[0] + 5)
        put_file(fs, lpath, rpath, **kwargs)

    monkeypatch.setattr(ServedFileSystem, "put_file", no_faster)
    sent = store(here, server.filesystem, there)
    with ThreadPoolExecutor(1) as pool:
        added = pool.submit(sent.add, Checkpoint(tmp_path / "large"), NAME)
        deadline = time.monotonic() + 240
        while not added.done():
            assert time.monotonic() < deadline
            if kills and len([*(there / STAGED).glob("*")]) >= kills[0]:
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                kills.pop(0)
            server.revive()
        added.result()
    assert not kills
    assert read(there / STAGED) == contents


def test_a_server_that_is_gone_is_waited_for_so_long(
    here: Path,
    there: Path,
    server: FileServer,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sent_checkpoint_store, "_PATIENCE_S", 0.2)
    fs = server.filesystem
    server.close()
    began = time.monotonic()
    with pytest.raises(StorageError, match="cannot be reached"):
        store(here, fs, there).add(checkpoint, NAME)
    assert time.monotonic() - began < 20


def test_one_that_the_remote_storage_refuses_is_left_to_the_controller(
    here: Path,
    there: Path,
    server: FileServer,
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(remote_checkpoint_store, "_PATIENCE_S", 0.02)
    (tmp_path / "bucket").write_text("is a file, so nothing can be put into it")
    bucket = DirFileSystem(path=str(tmp_path / "bucket"), fs=LocalFileSystem())
    remote = RemoteCheckpointStore(
        str(here),
        2,
        Storage(bucket, "exp/t", bucket),
        10.0,
        fallback=store(here, server.filesystem, there),
    )
    added = remote.add(checkpoint, NAME)
    assert added == Checkpoint(there / NAME, server.filesystem)
    assert read(there / STAGED) == WHOLE
    assert f"it is kept in {there / NAME} and uploaded from there later" in caplog.text
    written(Path(remote.staged("checkpoint_000002")))
    kept = remote.keep("checkpoint_000002")
    assert kept == Checkpoint(there / "checkpoint_000002", server.filesystem)
    assert read(there / ".checkpoint_000002.attempt2") == WHOLE
    assert os.listdir(here) == []
