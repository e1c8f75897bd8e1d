"""The process that serves a folder: what it keeps to itself, and what becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tuner.handshake import HandshakeError, connect, new_secret
from tuner.storage import file_client
from tuner.storage.file_server import FileServer
from tuner.storage.served_files import ServedFileSystem
from tuner.storage.served_protocol import CHUNK, ConnectionLost, Secret
from tuner.storage.served_root import INCOMING

MB = 1_000_000


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_client, "_WAITS_S", (0.0, 0.01, 0.1))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def server(root: Path) -> Iterator[FileServer]:
    server = FileServer(str(root), "127.0.0.1", new_secret())
    yield server
    server.close()


@pytest.fixture
def fs(server: FileServer) -> ServedFileSystem:
    return server.filesystem


def names(root: Path) -> list[str]:
    """What lies in a folder, apart from what is being written."""
    return sorted(name for name in os.listdir(root) if name != INCOMING)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def resident(server: FileServer) -> int:
    assert server.pid is not None
    return int(psutil.Process(server.pid).memory_info().rss)


def test_it_starts_when_it_is_needed(server: FileServer, root: Path) -> None:
    assert server.pid is None
    assert server.filesystem.ls(str(root)) == []
    assert server.pid is not None


def test_who_does_not_know_the_secret_gets_nothing(server: FileServer, root: Path) -> None:
    (root / "file").write_text("mine")
    with pytest.raises(HandshakeError):
        connect(server.address, new_secret(), {})
    stranger = ServedFileSystem(*server.address, Secret(new_secret()))
    with pytest.raises(ConnectionLost, match=r"file server on 127\.0\.0\.1:\d+ cannot be reached"):
        stranger.cat_file(f"{root}/file")
    assert server.filesystem.cat_file(f"{root}/file") == b"mine"


def test_the_secret_is_on_no_command_line_and_in_no_environment(
    root: Path,
) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    server = FileServer(str(root), "127.0.0.1", secret)
    try:
        fs = server.filesystem
        assert fs.ls(str(root)) == []
        process = psutil.Process(server.pid)
        shown = [*process.cmdline(), *process.environ().values(), repr(fs), str(fs), repr(server)]
        shown += [repr(fs.storage_args), str(fs.storage_options), str(fs.storage_args[2])]
        with pytest.raises(FileNotFoundError) as caught:
            fs.info(f"{root}/none")
        shown.append(str(caught.value))
    finally:
        server.close()
    assert not [text for text in shown if "0123456789abcdef" in text]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{root}/../beside", "{root}2/file", "relative", "{root}/out/file", "/"]
)
def test_nothing_outside_of_its_folder_is_served(
    fs: ServedFileSystem, root: Path, tmp_path: Path, path: str
) -> None:
    for name in ("beside", "root2/file", "elsewhere/file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("secret")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "in").write_text("x")
    outside = path.format(root=root)
    for use in (
        lambda: fs.cat_file(outside),
        lambda: fs.info(outside),
        lambda: fs.ls(outside),
        lambda: fs.pipe_file(f"{outside}/new", b""),
        lambda: fs.pipe_file(f"{outside}/new", b"", mode="create"),
        lambda: fs.makedirs(f"{outside}/new"),
        lambda: fs.mkdir(f"{outside}/new", create_parents=False),
        lambda: fs.rm(f"{outside}/x", recursive=True),
        lambda: fs.rm_file(f"{outside}/x"),
        lambda: fs.rmdir(f"{outside}/x"),
        lambda: fs.mv(f"{root}/in", f"{outside}/x"),
        lambda: fs.mv(f"{outside}/x", f"{root}/in"),
        lambda: fs.cp_file(f"{root}/in", f"{outside}/x"),
        lambda: fs.sync(outside),
    ):
        with pytest.raises(PermissionError, match=r"leads out of|absolute paths without '\.\.'"):
            use()
    assert (tmp_path / "beside").read_text() == "secret"
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["file"]


def test_its_folder_itself_cannot_be_removed(fs: ServedFileSystem, root: Path) -> None:
    for use in (lambda: fs.rm(str(root), recursive=True), lambda: fs.mv(str(root), f"{root}2")):
        with pytest.raises(PermissionError):
            use()
    assert root.is_dir()


def test_links_within_are_followed_and_removed_alone(fs: ServedFileSystem, root: Path) -> None:
    (root / "folder").mkdir()
    (root / "folder/file").write_text("1")
    (root / "link").symlink_to("folder")
    (root / "dangling").symlink_to("nowhere")
    assert fs.cat_file(f"{root}/link/file") == b"1"
    kinds = {info["name"]: info["type"] for info in fs.ls(str(root))}
    assert kinds == {
        f"{root}/folder": "directory",
        f"{root}/link": "directory",
        f"{root}/dangling": "other",
    }
    fs.rm(f"{root}/link", recursive=True)
    assert (root / "folder/file").read_text() == "1"


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda fs, root: fs.cat_file(f"{root}/none"), FileNotFoundError),
        (lambda fs, root: fs.rm(f"{root}/none", recursive=True), FileNotFoundError),
        (lambda fs, root: fs.pipe_file(f"{root}/none/file", b""), FileNotFoundError),
        (lambda fs, root: fs.ls(f"{root}/none"), FileNotFoundError),
        (lambda fs, root: fs.cat_file(f"{root}/file/below"), NotADirectoryError),
        (lambda fs, root: fs.makedirs(f"{root}/folder"), FileExistsError),
        (lambda fs, root: fs.pipe_file(f"{root}/file", b"", mode="create"), FileExistsError),
        (lambda fs, root: fs.pipe_file(f"{root}/folder", b"1"), IsADirectoryError),
        (lambda fs, root: fs.cat_file(f"{root}/folder"), IsADirectoryError),
        (lambda fs, root: fs.cat_file(f"{root}/pipe"), OSError),
        (lambda fs, root: fs.rmdir(f"{root}/folder"), OSError),
        (lambda fs, root: fs.pipe_file(f"{root}/{'n' * 300}", b""), OSError),
        (lambda fs, root: fs.pipe_file(f"{root}/folder", bytes(5 * CHUNK)), IsADirectoryError),
    ],
)
def test_errors_are_what_they_are_there(
    fs: ServedFileSystem,
    root: Path,
    use: Callable[[ServedFileSystem, Path], None],
    error: type[OSError],
) -> None:
    (root / "folder").mkdir()
    (root / "folder/file").touch()
    (root / "file").touch()
    os.mkfifo(root / "pipe")
    with pytest.raises(error) as caught:
        use(fs, root)
    assert type(caught.value) is error
    assert fs.cat_file(f"{root}/file") == b"", "the connection goes on"
    assert names(root) == ["file", "folder", "pipe"]


def test_a_full_disk_is_told_before_all_is_sent(
    fs: ServedFileSystem, server: FileServer, root: Path
) -> None:
    given = []

    def content() -> Iterator[bytes]:
        for _ in range(400):
            given.append(CHUNK)
            yield bytes(CHUNK)

    limit = 3 * CHUNK
    psutil.Process(server.pid).rlimit(psutil.RLIMIT_FSIZE, (limit, limit))
    with pytest.raises(OSError, match="File too large"):
        fs._client.write(f"{root}/large", content)
    assert len(given) < 400
    assert os.listdir(root / INCOMING) == []
    assert names(root) == []
    fs.pipe_file(f"{root}/small", b"1")
    assert fs.cat_file(f"{root}/small") == b"1"


@pytest.mark.slow
def test_large_files_are_not_kept_in_memory(
    fs: ServedFileSystem, server: FileServer, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(MB) * 200)
    fs.pipe_file(f"{root}/small", b"1")
    before = resident(server)
    fs.put_file(f"{tmp_path}/large", f"{root}/large")
    fs.get_file(f"{root}/large", f"{tmp_path}/back")
    assert resident(server) - before < 8 * MB
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_one_that_is_killed_in_a_transfer_is_told_and_revived_in_its_place(
    fs: ServedFileSystem, server: FileServer, root: Path
) -> None:
    def content() -> Iterator[bytes]:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        for _ in range(100):
            yield bytes(CHUNK)

    address = server.address
    fs.pipe_file(f"{root}/old", b"old")
    with pytest.raises(ConnectionLost):
        fs._client.write(f"{root}/old", content, create=True)
    assert (root / "old").read_bytes() == b"old"
    pid = server.pid
    wait_until(lambda: (server.revive(), server.pid != pid)[1])
    assert server.address == address
    assert fs.cat_file(f"{root}/old") == b"old"
    fs.pipe_file(f"{root}/new", b"new")
    assert (root / "new").read_bytes() == b"new"


def test_it_does_not_outlive_its_controller(root: Path) -> None:
    script = (
        "import os, sys, signal\n"
        "from tuner.storage.file_server import FileServer\n"
        f"server = FileServer({str(root)!r}, '127.0.0.1', b'x' * 32)\n"
        f"server.filesystem.ls({str(root)!r})\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=240)
    pid = int(ended.stdout)
    wait_until(lambda: not psutil.pid_exists(pid))


def test_a_closed_one_is_gone_at_once(server: FileServer, root: Path) -> None:
    fs = server.filesystem
    assert fs.ls(str(root)) == []
    fs.pipe_file(f"{root}/file", b"1")
    half = fs.open(f"{root}/half", "wb")
    half.write(bytes(CHUNK))
    wait_until(lambda: (root / INCOMING).exists() and os.listdir(root / INCOMING) != [])
    pid = server.pid
    assert pid is not None
    server.close()
    assert os.listdir(root) == ["file"]
    half.discard()
    assert not psutil.pid_exists(pid)
    with pytest.raises(ConnectionLost, match="it ends with the experiment's controller"):
        fs.ls(str(root))
