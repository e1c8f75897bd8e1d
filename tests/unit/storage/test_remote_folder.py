from __future__ import annotations

from pathlib import Path

import pytest
from flaky_proxy import FlakyProxy
from servers import Bucket
from storage_helpers import files_on, folder_storage, put

from tuner.errors import ExperimentLockedError, StorageError
from tuner.storage import transfer
from tuner.storage.remote_folder import RemoteFolder
from tuner.storage.storage import Storage, locate, new_child


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return folder_storage(tmp_path / "disk")


def located(url: str) -> Storage:
    storage, _ = locate(url)
    assert storage is not None
    return storage


def test_a_missing_bucket_is_named(s3_server: Bucket, tmp_path: Path) -> None:
    url = f"{s3_server.url}gone/exp/run"
    with pytest.raises(StorageError, match=r"gone/exp/run' cannot be written to \(.*bucket"):
        RemoteFolder(located(url), str(tmp_path))


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_server_that_does_not_answer_is_an_error_soon(
    fault: str,
    s3_proxy: FlakyProxy,
    s3_server: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert transfer._ANSWER_TIMEOUT_S == 20
    monkeypatch.setattr(transfer, "_ANSWER_TIMEOUT_S", 0.5)
    storage = located(f"{s3_server.url}/exp")
    getattr(s3_proxy, fault)()
    with pytest.raises(StorageError, match=r"cannot be written to \(.*; check that the bucket or"):
        RemoteFolder(storage, str(tmp_path))
    with pytest.raises(StorageError, match=r"cannot be read \(.*the address of the server"):
        new_child(storage, "unnamed")


def test_one_run_at_a_time(storage: Storage, tmp_path: Path) -> None:
    first = RemoteFolder(storage, str(tmp_path))
    with pytest.raises(ExperimentLockedError):
        RemoteFolder(storage, str(tmp_path))
    first.release()
    RemoteFolder(storage, str(tmp_path)).release()
    assert files_on(storage) == {}


def test_a_new_run_makes_room_and_brings_what_a_restore_needs(
    storage: Storage, tmp_path: Path
) -> None:
    here, there = tmp_path / "staging", tmp_path / "disk" / "exp" / "run"
    put(here, **{"experiment.json": "new", "tuner.pkl": "new"})
    put(there, **{"experiment.json": "1", "journal/00000001.jsonl": "1", "t/result.json": "1"})
    folder = RemoteFolder(storage, str(here))
    assert folder.begin() == "exp/run/previous/0001"
    put(there, **{"journal/00000001.jsonl": "2"})
    assert folder.begin() == "exp/run/previous/0002"
    folder.release()
    assert files_on(storage) == {
        "experiment.json": b"new",
        "tuner.pkl": b"new",
        "t/result.json": b"1",
        "previous/0001/experiment.json": b"1",
        "previous/0001/journal/00000001.jsonl": b"1",
        "previous/0002/experiment.json": b"new",
        "previous/0002/tuner.pkl": b"new",
        "previous/0002/journal/00000001.jsonl": b"2",
    }
