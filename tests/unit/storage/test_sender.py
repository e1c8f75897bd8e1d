from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from storage_helpers import BrokenFileSystem, files_on, folder_storage, put

from tuner.errors import StorageError
from tuner.storage import sender as sender_module
from tuner.storage import transfer
from tuner.storage.lease import Lease
from tuner.storage.sender import Sender
from tuner.storage.storage import Storage


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(sender_module, "_GIVE_UP_AFTER_S", 0.0)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return folder_storage(tmp_path / "disk")


@pytest.fixture
def fs(storage: Storage) -> BrokenFileSystem:
    assert isinstance(storage.fs, BrokenFileSystem)
    return storage.fs


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return tmp_path / "staging"


@pytest.fixture
def lease(storage: Storage) -> Lease:
    return Lease(storage)


@pytest.fixture
def sender(staging: Path, storage: Storage, lease: Lease) -> Sender:
    return Sender(str(staging), storage, 10.0, lease)


def test_files_keep_their_paths(sender: Sender, staging: Path, storage: Storage) -> None:
    put(staging, a="1", deep__er__b="2")
    assert sender.send_files(["a", "deep/er/b"])
    assert files_on(storage) == {"a": b"1", "deep/er/b": b"2"}
    assert sender.send_files([])
    assert sender.messages() == []


def test_files_that_are_gone_by_now_are_no_failure(
    sender: Sender, staging: Path, storage: Storage
) -> None:
    put(staging, a="1")
    assert sender.send_files(["gone", "a", "folder/gone"])
    assert files_on(storage) == {"a": b"1"}
    assert sender.failed == {}


def test_many_files_go_in_batches_of_which_one_may_fail(
    sender: Sender, staging: Path, storage: Storage, fs: BrokenFileSystem
) -> None:
    paths = [f"{n:03d}" for n in range(450)]
    put(staging, **dict.fromkeys(paths, "x"))
    fs.break_for("run/250")
    assert not sender.send_files(paths)
    assert sorted(sender.failed) == paths[200:400]
    assert sorted(files_on(storage)) == paths[:200] + paths[400:]
    messages = sender.messages()
    assert len(messages) == 21
    assert messages[0].startswith("200: the upload of 200 and 199 more files (exp/run) failed 1 ti")
    assert "the storage is broken" in messages[0]
    assert messages[-1] == "and 180 more files"
    fs.heal()
    assert sender.send_files(paths[200:399])
    assert list(sender.failed) == ["399"], "what was sent is forgotten"


def test_deletions_fail_and_succeed_like_uploads(
    sender: Sender, staging: Path, storage: Storage, fs: BrokenFileSystem
) -> None:
    put(staging, t__c__x="1", t__y="2")
    sender.send_files(["t/c/x", "t/y"])
    fs.break_for("t/c")
    assert not sender.remove("t/c")
    assert list(sender.failed) == ["t/c"]
    fs.heal()
    assert sender.remove("t/c")
    assert sender.remove("t/c"), "what is not there need not be deleted"
    assert sender.messages() == []
    assert files_on(storage) == {"t/y": b"2"}


def test_the_journal_is_not_given_up_while_the_experiment_runs(
    sender: Sender, storage: Storage, fs: BrokenFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.break_for("journal")
    tries: list[float] = []

    def heal_after_many(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 20:
            fs.heal()

    monkeypatch.setattr("tenacity.nap.time.sleep", heal_after_many)
    sender.send_journal("journal/1", b"facts")
    assert files_on(storage) == {"journal/1": b"facts"}
    assert len(tries) == 20


def test_everything_is_given_up_after_the_deadline(
    sender: Sender, staging: Path, fs: BrokenFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "_GIVE_UP_AFTER_S", math.inf)
    put(staging, a="1")
    fs.break_for("run")
    sender.deadline = time.monotonic() + 0.05
    with pytest.raises(StorageError, match="the upload of journal/1"):
        sender.send_journal("journal/1", b"facts")
    assert time.monotonic() >= sender.deadline
    assert not sender.send_files(["a"])
    assert "failed 1 times" in sender.failed["a"]


def test_nothing_is_sent_without_the_lease(
    sender: Sender, staging: Path, storage: Storage, lease: Lease
) -> None:
    put(staging, a="1")
    lease.is_lost = True
    assert not sender.send_files(["a"])
    assert not sender.remove("a")
    with pytest.raises(StorageError, match="is written to by another process"):
        sender.send_journal("journal/1", b"facts")
    assert files_on(storage) == {}
