"""What a worker sees of the files of the controller's node, also when connections break."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy

from tuner.checkpoint import Checkpoint
from tuner.filesystems import move_tree
from tuner.handshake import new_secret
from tuner.storage import file_client
from tuner.storage.file_server import FileServer
from tuner.storage.served_files import ServedFileSystem
from tuner.storage.served_protocol import CHUNK, ConnectionLost, Secret
from tuner.storage.served_root import INCOMING

HANDSHAKE = 64  # bytes that a client receives
CONTENT = os.urandom(3 * CHUNK + 17)


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_client, "_WAITS_S", (0.0, 0.01, 0.1))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def server(root: Path) -> Iterator[FileServer]:
    server = FileServer(str(root), "127.0.0.1", b"s" * 32)
    yield server
    server.close()


@pytest.fixture
def fs(server: FileServer) -> ServedFileSystem:
    return server.filesystem


@pytest.fixture
def proxy(server: FileServer) -> Iterator[CuttingProxy]:
    with CuttingProxy(server.address) as proxy:
        yield proxy


@pytest.fixture
def cut_fs(proxy: CuttingProxy) -> ServedFileSystem:
    return ServedFileSystem(*proxy.address, Secret(b"s" * 32))


def names(root: Path) -> list[str]:
    """What lies in a folder, apart from what is being written."""
    return sorted(name for name in os.listdir(root) if name != INCOMING)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_files_are_read_from_any_place(fs: ServedFileSystem, root: Path) -> None:
    (root / "file").write_bytes(CONTENT)
    with fs.open(f"{root}/file", "rb") as file:
        assert file.size == len(CONTENT)
        file.seek(2 * CHUNK + 5)
        assert file.read(10) == CONTENT[2 * CHUNK + 5 : 2 * CHUNK + 15]
        file.seek(3)
        assert file.read(CHUNK) == CONTENT[3 : CHUNK + 3]
        file.seek(-4, 2)
        assert file.read() == CONTENT[-4:]
    for start, end in [(None, 5), (5, None), (-5, None), (3, -3), (10, 5), (0, 10**9)]:
        assert fs.cat_file(f"{root}/file", start, end) == CONTENT[start:end]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 3])
def test_a_file_appears_when_it_is_closed(fs: ServedFileSystem, root: Path, size: int) -> None:
    with fs.open(f"{root}/file", "wb") as file:
        for start in range(0, size, 700_000):
            file.write(CONTENT[start : min(start + 700_000, size)])
        assert not (root / "file").exists()
        assert fs.exists(str(root)), "another connection serves meanwhile"
    assert (root / "file").read_bytes() == CONTENT[:size]
    assert names(root) == ["file"]


def test_a_file_that_cannot_be_written_is_an_error_at_its_close(
    fs: ServedFileSystem, root: Path
) -> None:
    file = fs.open(f"{root}/none/file", "wb")
    file.write(b"1")
    with pytest.raises(FileNotFoundError):
        file.close()
    (root / "file").write_text("old")
    file = fs.open(f"{root}/file", "xb")
    file.write(b"new")
    with pytest.raises(FileExistsError):
        file.close()
    with pytest.raises(ValueError, match="use one of rb, wb, xb"):
        fs.open(f"{root}/file", "ab")
    assert (root / "file").read_text() == "old"


def test_text_is_written_and_read(fs: ServedFileSystem, root: Path) -> None:
    with fs.open(f"{root}/file", "w") as file:
        file.write("grüße\n")
    with fs.open(f"{root}/file", "r") as file:
        assert list(file) == ["grüße\n"]


def test_a_tree_is_used_as_on_any_filesystem(
    fs: ServedFileSystem, root: Path, tmp_path: Path
) -> None:
    fs.makedirs(f"{root}/a/b")
    fs.makedirs(f"{root}/a/b", exist_ok=True)
    fs.mkdir(f"{root}/c/d")
    fs.pipe({f"{root}/a/1": b"one", f"{root}/a/b/2": b"two"})
    assert fs.find(str(root)) == [f"{root}/a/1", f"{root}/a/b/2"]
    assert fs.glob(f"{root}/a/*") == [f"{root}/a/1", f"{root}/a/b"]
    assert fs.ls(f"{root}/a/1", detail=False) == [f"{root}/a/1"]
    assert fs.size(f"{root}/a/1") == 3
    for when in (fs.created(f"{root}/a/1"), fs.modified(f"{root}/a/1")):
        assert abs((datetime.now(UTC) - when).total_seconds()) < 60
    fs.mv(f"{root}/a/b", f"{root}/c/moved")
    assert fs.cat(f"{root}/c/moved/2") == b"two"
    fs.copy(f"{root}/a/1", f"{root}/copy")
    assert fs.cat(f"{root}/copy") == b"one"
    fs.rmdir(f"{root}/c/d")
    move_tree(fs, f"{root}/c", f"{root}/e")
    assert fs.get(f"{root}/e", f"{tmp_path}/e", recursive=True) is None
    assert (tmp_path / "e/moved/2").read_bytes() == b"two"
    fs.put(f"{tmp_path}/e", f"{root}/up", recursive=True)
    assert fs.cat(f"{root}/up/moved/2") == b"two"
    fs.rm([f"{root}/up", f"{root}/e"], recursive=True)
    fs.rm(f"{root}/copy")
    assert fs.ls(str(root), detail=False) != []
    assert names(root) == ["a"]


def test_a_tree_is_brought_to_the_disk(fs: ServedFileSystem, root: Path) -> None:
    fs.makedirs(f"{root}/a/b")
    fs.pipe_file(f"{root}/a/b/file", b"1")
    fs.sync(f"{root}/a")
    fs.sync(f"{root}/a/b/file")
    with pytest.raises(FileNotFoundError):
        fs.sync(f"{root}/none")


def test_several_use_it_at_once(fs: ServedFileSystem, root: Path) -> None:
    def use(number: int) -> bytes:
        client = fs if number % 2 else pickle.loads(pickle.dumps(fs))
        content = CONTENT[number:]
        client.pipe_file(f"{root}/{number}", content)
        assert client.cat_file(f"{root}/{number}") == content
        client.pipe_file(f"{root}/same", content)
        return content

    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(use, range(16)))
    assert (root / "same").read_bytes() in contents
    assert len(names(root)) == 17


def test_of_several_that_create_a_file_one_can(fs: ServedFileSystem, root: Path) -> None:
    barrier = threading.Barrier(8)

    def create(number: int) -> int | None:
        barrier.wait()
        try:
            fs.pipe_file(f"{root}/lock", str(number).encode(), mode="create")
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        (made,) = [number for number in pool.map(create, range(8)) if number is not None]
    assert (root / "lock").read_text() == str(made)
    assert names(root) == ["lock"]


def test_it_is_pickled_with_its_server(fs: ServedFileSystem, root: Path) -> None:
    copy = pickle.loads(pickle.dumps(fs))
    copy.pipe_file(f"{root}/file", b"1")
    assert fs.cat_file(f"{root}/file") == b"1"
    assert Checkpoint(str(root), copy) == Checkpoint(str(root), fs)
    with fs.open(f"{root}/file", "rb") as file:
        assert pickle.loads(pickle.dumps(file)).read() == b"1"


def test_a_forked_process_leaves_its_parents_connections_alone(
    fs: ServedFileSystem, root: Path
) -> None:
    fs.pipe_file(f"{root}/file", b"1")
    with fs.open(f"{root}/open", "wb") as file:
        file.write(CONTENT)
        processes = [
            multiprocessing.get_context("fork").Process(
                target=_use_and_close, args=(fs, root, file)
            )
            for _ in range(3)
        ]
        for process in processes:
            process.start()
        for _ in range(200):
            assert fs.cat_file(f"{root}/file") == b"1"
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
        file.write(b"end")
    assert (root / "open").read_bytes() == CONTENT + b"end"


def _use_and_close(fs: ServedFileSystem, root: Path, file: object) -> None:
    for _ in range(200):
        assert fs.cat_file(f"{root}/file") == b"1"
    file.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("after", [100, CHUNK, 2 * CHUNK, len(CONTENT)])
def test_what_is_cut_off_is_sent_again(
    cut_fs: ServedFileSystem, proxy: CuttingProxy, root: Path, after: int
) -> None:
    proxy.cut_after(sent=after)
    cut_fs.pipe_file(f"{root}/file", CONTENT)
    assert proxy.has_cut
    assert proxy.connections == 2
    assert (root / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("after", [10, CHUNK, len(CONTENT)])
def test_what_is_cut_off_is_received_again(
    cut_fs: ServedFileSystem, proxy: CuttingProxy, root: Path, tmp_path: Path, after: int
) -> None:
    (root / "file").write_bytes(CONTENT)
    proxy.cut_after(received=after)
    cut_fs.get_file(f"{root}/file", f"{tmp_path}/file")
    assert proxy.has_cut
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_what_is_cut_off_leaves_nothing_half_written(
    cut_fs: ServedFileSystem, proxy: CuttingProxy, root: Path
) -> None:
    file = cut_fs.open(f"{root}/file", "wb")
    file.write(CONTENT)
    wait_until(lambda: (root / INCOMING).exists() and os.listdir(root / INCOMING) != [])
    proxy.cut_after(sent=1)
    with pytest.raises(ConnectionLost):
        file.writelines(CONTENT for _ in range(100))
    file.close()
    wait_until(lambda: os.listdir(root / INCOMING) == [])
    assert names(root) == []


def test_what_may_have_been_done_is_not_done_again(
    cut_fs: ServedFileSystem, proxy: CuttingProxy, root: Path
) -> None:
    (root / "file").touch()
    (root / "second").touch()
    assert cut_fs.exists(f"{root}/file")
    proxy.cut_after(received=1)
    with pytest.raises(ConnectionLost):
        cut_fs.mv(f"{root}/file", f"{root}/target")
    assert names(root) == ["second", "target"]
    proxy.cut_after(received=HANDSHAKE + 1)
    with pytest.raises(ConnectionLost):
        cut_fs.pipe_file(f"{root}/created", b"", mode="create")
    assert (root / "created").exists()
    cut_fs.mv(f"{root}/second", f"{root}/target")


def test_an_unreachable_server_is_no_missing_file(
    cut_fs: ServedFileSystem, proxy: CuttingProxy, root: Path
) -> None:
    assert not cut_fs.exists(f"{root}/file")
    proxy.close()
    proxy.cut_after(sent=1)
    for use in (cut_fs.exists, cut_fs.isdir, cut_fs.isfile):
        with pytest.raises(ConnectionLost, match="cannot be reached"):
            use(f"{root}/file")


def test_a_connection_that_broke_while_it_was_idle_is_not_used(
    fs: ServedFileSystem, server: FileServer, root: Path
) -> None:
    fs.pipe_file(f"{root}/file", b"1")
    pid = server.pid
    assert pid is not None
    os.kill(pid, 9)
    deadline = time.monotonic() + 120
    while server.pid == pid:
        assert time.monotonic() < deadline
        server.revive()
    fs.mv(f"{root}/file", f"{root}/moved")  # is not tried again
    assert names(root) == ["moved"]


def test_a_stranger_is_not_taken_for_the_server(server: FileServer, root: Path) -> None:
    other = FileServer(str(root), "127.0.0.1", new_secret())
    try:
        with pytest.raises(ConnectionLost, match="another program"):
            ServedFileSystem(*other.address, Secret(b"s" * 32)).ls(str(root))
    finally:
        other.close()
