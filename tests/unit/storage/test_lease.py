from __future__ import annotations

import os
import pickle
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pyarrow.fs
import pytest
from storage_helpers import folder_storage

from tuner.errors import ExperimentLockedError
from tuner.filesystems import read_bytes, remove_file, write_bytes
from tuner.storage import lease as lease_module
from tuner.storage.lease import DURATION_S, FILE, Lease, LeaseKeeper
from tuner.storage.storage import Storage, locate


def folder(request: pytest.FixtureRequest) -> Storage:
    return folder_storage(request.getfixturevalue("tmp_path") / "disk")


def memory(request: pytest.FixtureRequest) -> Storage:
    storage, _ = locate(f"memory://{request.getfixturevalue('tmp_path').name}/run")
    assert storage is not None
    return storage


def arrow(request: pytest.FixtureRequest) -> Storage:
    root = str(request.getfixturevalue("tmp_path"))
    filesystem = pyarrow.fs.SubTreeFileSystem(root, pyarrow.fs.LocalFileSystem())
    storage, _ = locate("exp/run", filesystem)
    assert storage is not None
    return storage


def s3(request: pytest.FixtureRequest) -> Storage:
    storage, _ = locate(f"{request.getfixturevalue('s3_server').url}/exp/run")
    assert storage is not None
    return storage


@pytest.fixture(params=[folder, memory, arrow, s3], ids=lambda kind: kind.__name__)
def storage(request: pytest.FixtureRequest) -> Storage:
    made: Storage = request.param(request)
    return made


def held(storage: Storage) -> dict[str, Any] | None:
    content = read_bytes(storage.fs, f"{storage.path}/{FILE}")
    return orjson.loads(content) if content else None  # a plain folder may show it empty


def write(storage: Storage, **fields: Any) -> None:
    """A lease of another process."""
    lease = {
        "token": "other",
        "host": "elsewhere",
        "pid": 4711,
        "since": 1_700_000_000.0,
        "expires": time.time() + 30,
        **fields,
    }
    write_bytes(storage.fs, f"{storage.path}/{FILE}", orjson.dumps(lease))


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_free_one_is_taken_renewed_and_released(storage: Storage) -> None:
    lease = Lease(storage)
    start = time.time()
    lease.acquire()
    end = time.time()
    first = held(storage)
    assert first is not None
    assert (first["pid"], first["host"]) == (os.getpid(), socket.gethostname())
    assert start <= first["expires"] - DURATION_S <= end
    lease.renew()
    renewed = held(storage)
    assert renewed is not None
    assert renewed["expires"] > first["expires"]
    assert renewed["token"] == first["token"]
    lease.release()
    assert held(storage) is None
    assert not lease.is_lost


def test_one_that_is_held_is_refused_and_its_holder_named(storage: Storage) -> None:
    expires = time.time() + 3000
    write(storage, expires=expires)
    with pytest.raises(ExperimentLockedError) as caught:
        Lease(storage).acquire()
    left_s = expires - time.time()
    found = re.search(
        r"run is being written to by process 4711 on elsewhere since 2023-11-1\d [\d:]+; wait for "
        r"it to end \(or, if it is dead, (\d+) s\)",
        str(caught.value),
    )
    assert found is not None
    assert left_s - 1 <= int(found[1]) <= 3000
    assert held(storage)["token"] == "other"  # type: ignore[index]


@pytest.mark.parametrize("how", ["expired", "dead", "unreadable"])
@pytest.mark.slow
def test_one_that_nobody_holds_any_more_is_taken_over(how: str, storage: Storage) -> None:
    if how == "expired":
        write(storage, expires=time.time() - 1)
    elif how == "dead":
        write(storage, **lease_module._machine(), pid=dead_pid())
    else:
        write_bytes(storage.fs, f"{storage.path}/{FILE}", b"{torn")
    Lease(storage).acquire()
    assert held(storage)["pid"] == os.getpid()  # type: ignore[index]


def test_a_living_holder_on_this_machine_is_respected(tmp_path: Path) -> None:
    storage = folder_storage(tmp_path / "disk")
    write(storage, **lease_module._machine(), pid=1)  # of another user
    with pytest.raises(ExperimentLockedError, match="process 1 on"):
        Lease(storage).acquire()
    write(storage, host="elsewhere", pid=dead_pid())
    with pytest.raises(ExperimentLockedError):
        Lease(storage).acquire()


@pytest.mark.parametrize("has_ended", [False, True])
def test_one_that_was_taken_over_is_lost_for_good(
    has_ended: bool, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if the other has ended by now: it may have written, and what we know is outdated."""
    lease = Lease(storage)
    lease.acquire()
    if has_ended:
        remove_file(storage.fs, f"{storage.path}/{FILE}")
    else:
        write(storage)
    before = held(storage)
    lease.renew()
    assert lease.is_lost
    assert "nothing more is uploaded from here" in caplog.text
    lease.release()
    assert held(storage) == before


def test_one_that_this_process_could_not_release_is_taken_over(tmp_path: Path) -> None:
    storage = folder_storage(tmp_path / "disk")
    first, second = Lease(storage), Lease(storage)
    first.acquire()
    with pytest.raises(ExperimentLockedError, match=f"process {os.getpid()} on"):
        second.acquire()
    content = read_bytes(storage.fs, f"{storage.path}/{FILE}")
    first.release()
    write_bytes(storage.fs, f"{storage.path}/{FILE}", content or b"")
    second.acquire()
    second.renew()
    assert not second.is_lost


def test_a_pickled_one_is_the_same(tmp_path: Path) -> None:
    """So that the recorder renews it, and releases it when the driver was killed."""
    storage = folder_storage(tmp_path / "disk")
    lease = Lease(storage)
    lease.acquire()
    copy = pickle.loads(pickle.dumps(lease))
    copy.renew()
    assert not copy.is_lost
    copy.release()
    assert held(storage) is None


def test_a_try_whose_answer_was_lost_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = folder_storage(tmp_path / "disk")
    create = lease_module.create_file

    def create_twice(*args: Any) -> None:  # as a client does that tries again by itself
        create(*args)
        create(*args)

    monkeypatch.setattr(lease_module, "create_file", create_twice)
    Lease(storage).acquire()
    assert held(storage)["pid"] == os.getpid()  # type: ignore[index]


RACER = """
import sys, pickle
from tuner.errors import ExperimentLockedError
from tuner.storage.lease import Lease
lease = Lease(pickle.loads(bytes.fromhex(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
try:
    lease.acquire()
    print("won", flush=True)
except ExperimentLockedError as error:
    print("lost", error, flush=True)
sys.stdin.readline()
"""


def half_written(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, content: Callable[[], bytes]
) -> None:
    """The file is empty, as when another one opens it in a plain folder, until it is waited for."""
    path = f"{storage.path}/{FILE}"
    write_bytes(storage.fs, path, b"")

    def complete(seconds: float) -> None:
        if read_bytes(storage.fs, path) == b"":  # nobody has removed it
            write_bytes(storage.fs, path, content())

    clock = SimpleNamespace(**{**vars(time), "sleep": complete})
    monkeypatch.setattr(lease_module, "time", clock)


def test_one_that_is_just_being_created_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = folder_storage(tmp_path / "disk")
    write(storage)
    others = read_bytes(storage.fs, f"{storage.path}/{FILE}") or b""
    half_written(storage, monkeypatch, lambda: others)
    with pytest.raises(ExperimentLockedError, match="process 4711 on elsewhere"):
        Lease(storage).acquire()
    assert held(storage)["token"] == "other"  # type: ignore[index]


def test_one_that_is_just_being_renewed_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = folder_storage(tmp_path / "disk")
    lease = Lease(storage)
    lease.acquire()
    half_written(storage, monkeypatch, lease._content)
    assert lease.is_held()
    half_written(storage, monkeypatch, lease._content)
    lease.renew()
    assert not lease.is_lost


@pytest.mark.parametrize("kind", [folder, s3], ids=lambda kind: kind.__name__)
def test_one_of_two_processes_gets_a_free_one(kind: Any, request: pytest.FixtureRequest) -> None:
    storage = kind(request)
    command = [sys.executable, "-c", RACER, pickle.dumps(storage).hex()]
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(Path(__file__).parent)])
    racers = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for racer in racers:
        racer.stdin.write("\n")  # type: ignore[union-attr]
        racer.stdin.flush()  # type: ignore[union-attr]
    outcomes = {racer.pid: racer.stdout.readline() for racer in racers}  # type: ignore[union-attr]
    for racer in racers:
        racer.communicate("\n", timeout=240)
    assert "won\n" in outcomes.values(), outcomes
    (winner,) = [pid for pid, outcome in outcomes.items() if outcome == "won\n"]
    (message,) = [outcome for outcome in outcomes.values() if outcome.startswith("lost")]
    assert f"process {winner} on" in message


def test_a_keeper_renews_until_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEWED_EVERY_S", 0.01)
    storage = folder_storage(tmp_path / "disk")
    lease = Lease(storage)
    lease.acquire()
    first = held(storage)
    keeper = LeaseKeeper(lease)
    deadline = time.monotonic() + 60
    while held(storage) in (first, None):
        assert time.monotonic() < deadline
    keeper.close()
    lease.release()
    assert held(storage) is None
    assert not lease.is_lost
