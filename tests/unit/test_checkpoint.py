import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from tuner.checkpoint import Checkpoint
from tuner.errors import ConfigError, StorageError

FILES = {"model.bin": os.urandom(100_000), "optimizer/state.bin": b"state"}
FORK = multiprocessing.get_context("fork")


class CountingFileSystem(DirFileSystem):
    """A remote filesystem for several processes, which notes every download in a file."""

    def get(self, rpath: Any, lpath: Any, **kwargs: Any) -> Any:
        with open(os.path.join(self.path, "downloads"), "a") as file:
            file.write("x")
        return super().get(rpath, lpath, **kwargs)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary files of the test lie."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return write_files(tmp_path / "checkpoint_000003")


@pytest.fixture(params=["memory", "arrow", "wrapped", "directory"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checkpoint]:
    memory = fsspec.filesystem("memory")
    write_files(tmp_path / "store/run/checkpoint_000003")
    name = f"/{tmp_path.name}/checkpoint_000003"
    for file, content in FILES.items():
        memory.pipe(f"{name}/{file}", content)
    store = str(tmp_path / "store")
    if request.param == "memory":
        yield Checkpoint(f"memory:/{name}")
    elif request.param == "wrapped":
        arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(memory))
        yield Checkpoint(name, filesystem=arrow)
    elif request.param == "arrow":
        arrow = pyarrow.fs.SubTreeFileSystem(store, pyarrow.fs.LocalFileSystem())
        yield Checkpoint("run/checkpoint_000003", filesystem=arrow)
    else:
        filesystem = DirFileSystem(path=store, fs=LocalFileSystem())
        yield Checkpoint("run/checkpoint_000003", filesystem=filesystem)
    memory.rm(f"/{tmp_path.name}", recursive=True)


def counted(tmp_path: Path) -> tuple[Checkpoint, Callable[[], int]]:
    """A checkpoint on a `CountingFileSystem`, and the number of its downloads so far."""
    write_files(tmp_path / "store/ckpt")
    filesystem = CountingFileSystem(path=str(tmp_path / "store"), fs=LocalFileSystem())
    log = tmp_path / "store/downloads"
    return Checkpoint("ckpt", filesystem), lambda: len(log.read_text()) if log.exists() else 0


def write_files(folder: Path) -> str:
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


def read_files(folder: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def folders_below(temporary: Path) -> list[Path]:
    return [path for path in temporary.rglob("*") if path.is_dir() and path.parent != temporary]


def test_a_local_checkpoint_is_used_in_place(directory: str, temporary: Path) -> None:
    checkpoint = Checkpoint.from_directory(directory)
    assert checkpoint.path == directory
    assert isinstance(checkpoint.filesystem, LocalFileSystem)
    with checkpoint.as_directory() as path:
        assert path == directory
    assert read_files(directory) == FILES
    assert list(temporary.iterdir()) == []


def test_to_directory_copies_and_stays(directory: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint(Path(directory))
    first, second = checkpoint.to_directory(), checkpoint.to_directory()
    assert len({first, second, directory}) == 3
    target = checkpoint.to_directory(tmp_path / "deep/target")
    assert target == str(tmp_path / "deep/target")
    for copy in (first, second, target):
        assert read_files(copy) == FILES


def test_to_directory_keeps_what_is_in_the_target(directory: str, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target/mine").write_bytes(b"mine")
    Checkpoint(directory).to_directory(tmp_path / "target")
    assert read_files(str(tmp_path / "target")) == {**FILES, "mine": b"mine"}


def test_to_directory_of_itself_changes_nothing(directory: str) -> None:
    assert Checkpoint(directory).to_directory(directory) == directory
    assert read_files(directory) == FILES


def test_relative_paths_survive_a_change_of_directory(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint.from_directory("checkpoint_000003")
    monkeypatch.chdir("/")
    assert checkpoint.path == directory
    with checkpoint.as_directory() as path:
        assert read_files(path) == FILES


def test_from_directory_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^Checkpoint.from_directory: path='.*/none': there is"):
        Checkpoint.from_directory(tmp_path / "none")
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"/model.pt': it is a file: pass the directory"):
        Checkpoint.from_directory(tmp_path / "model.pt")


def test_a_deleted_checkpoint_is_a_clear_error(tmp_path: Path, temporary: Path) -> None:
    gone = Checkpoint(tmp_path / "gone")
    with pytest.raises(StorageError, match=r"gone' on the local filesystem does not exist"):
        with gone.as_directory():
            pass
    remote = Checkpoint(f"memory://{tmp_path.name}/gone")
    with pytest.raises(StorageError, match=r"gone' on the memory filesystem does not exist"):
        remote.to_directory()
    assert folders_below(temporary) == []


def test_a_remote_checkpoint_is_downloaded_and_removed(remote: Checkpoint, temporary: Path) -> None:
    with remote.as_directory() as path:
        assert path.startswith(str(temporary))
        assert read_files(path) == FILES
    assert not os.path.exists(path)
    assert folders_below(temporary) == []


def test_a_remote_checkpoint_can_be_kept(remote: Checkpoint, tmp_path: Path) -> None:
    assert read_files(remote.to_directory()) == FILES
    assert read_files(remote.to_directory(tmp_path / "kept")) == FILES


def test_an_error_within_the_block_removes_the_download(
    remote: Checkpoint, temporary: Path
) -> None:
    with pytest.raises(KeyError), remote.as_directory():
        raise KeyError
    assert folders_below(temporary) == []


def test_nested_use_shares_one_download(tmp_path: Path, temporary: Path) -> None:
    checkpoint, downloads = counted(tmp_path)
    with checkpoint.as_directory() as outer:
        with pickle.loads(pickle.dumps(checkpoint)).as_directory() as inner:
            assert inner == outer
        assert read_files(outer) == FILES
    assert downloads() == 1
    assert folders_below(temporary) == []


def test_threads_share_one_download(tmp_path: Path, temporary: Path) -> None:
    checkpoint, downloads = counted(tmp_path)
    barrier = threading.Barrier(4, timeout=120)
    seen: list[dict[str, bytes]] = []

    def use() -> None:
        with checkpoint.as_directory() as path:
            barrier.wait()
            seen.append(read_files(path))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [FILES] * 4
    assert downloads() == 1
    assert folders_below(temporary) == []


def test_processes_share_one_download(tmp_path: Path, temporary: Path) -> None:
    checkpoint, downloads = counted(tmp_path)
    barrier = FORK.Barrier(4, timeout=120)

    def use() -> None:
        with checkpoint.as_directory() as path:
            barrier.wait()
            assert read_files(path) == FILES
            barrier.wait()

    processes = [FORK.Process(target=use) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert downloads() == 1
    assert folders_below(temporary) == []


def test_what_a_killed_process_left_is_not_used_again(tmp_path: Path, temporary: Path) -> None:
    checkpoint, downloads = counted(tmp_path)
    receiver, sender = FORK.Pipe(duplex=False)

    def hold() -> None:
        with checkpoint.as_directory() as path:
            sender.send(path)
            signal.pause()

    process = FORK.Process(target=hold)
    process.start()
    left = receiver.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    Path(left, "model.bin").write_bytes(b"old")
    with checkpoint.as_directory() as path:
        assert read_files(path) == FILES
    assert downloads() == 2
    assert folders_below(temporary) == []


def test_processes_can_copy_to_the_same_directory_at_once(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    content = os.urandom(4_000_000)
    (big / "model.bin").write_bytes(content)
    target = tmp_path / "target"
    barrier = FORK.Barrier(4, timeout=120)

    def copy() -> None:
        barrier.wait()
        for _ in range(10):
            path = Checkpoint(big).to_directory(target)
            assert Path(path, "model.bin").read_bytes() == content

    processes = [FORK.Process(target=copy) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert os.listdir(target) == ["model.bin"]


def test_a_foreign_download_folder_is_refused(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, _ = counted(tmp_path)
    (temporary / f"tuner_downloads_{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="belongs to another user"):
        checkpoint.to_directory()


def test_metadata_is_stored_with_the_files(directory: str, remote: Checkpoint) -> None:
    for checkpoint in (Checkpoint(directory), remote):
        assert checkpoint.get_metadata() == {}
        checkpoint.set_metadata({"epoch": 1, "tags": ["a"]})
        checkpoint.update_metadata({"epoch": 2, "best": True})
        assert checkpoint.get_metadata() == {"epoch": 2, "tags": ["a"], "best": True}
        checkpoint.set_metadata({"fresh": None})
        assert Checkpoint(checkpoint.path, checkpoint.filesystem).get_metadata() == {"fresh": None}
        with checkpoint.as_directory() as path:
            assert sorted(read_files(path)) == sorted([*FILES, ".metadata.json"])


def test_metadata_that_json_cannot_hold_leaves_the_old(directory: str) -> None:
    checkpoint = Checkpoint(directory)
    checkpoint.set_metadata({"epoch": 1})
    with pytest.raises(ConfigError, match=r"metadata=\{.*<object .*cannot be written as JSON"):
        checkpoint.update_metadata({"model": object()})
    assert checkpoint.get_metadata() == {"epoch": 1}


def test_equal_by_path_and_filesystem(directory: str, remote: Checkpoint) -> None:
    local = Checkpoint(directory)
    assert local == Checkpoint(f"file://{directory}/") == Checkpoint(directory, LocalFileSystem())
    assert local == Checkpoint(directory, pyarrow.fs.LocalFileSystem())
    assert hash(local) == hash(Checkpoint(f"{directory}/"))
    assert local != Checkpoint(os.path.dirname(directory))
    assert local != Checkpoint(f"memory://{directory}")
    assert local != directory
    assert remote == Checkpoint(remote.path, remote.filesystem)
    assert remote != Checkpoint(remote.path)
    assert len({local, Checkpoint(directory), remote}) == 2


def test_pickles_to_an_equal_one(directory: str, remote: Checkpoint) -> None:
    for checkpoint in (Checkpoint(directory), remote):
        copy = pickle.loads(pickle.dumps(checkpoint))
        assert copy == checkpoint
        assert hash(copy) == hash(checkpoint)
        with copy.as_directory() as path:
            assert read_files(path) == FILES


def test_the_given_filesystem_is_given_back() -> None:
    arrow = pyarrow.fs.LocalFileSystem()
    assert Checkpoint("/a", arrow).filesystem is arrow
    memory = fsspec.filesystem("memory")
    assert Checkpoint("/a", memory).filesystem is memory
    assert Checkpoint("memory://a/b").filesystem is memory
    assert Checkpoint("memory://a/b").path == "/a/b"


def test_a_local_checkpoint_is_a_path(directory: str) -> None:
    checkpoint = Checkpoint(directory)
    assert os.path.join(checkpoint, "model.bin") == f"{directory}/model.bin"
    assert os.listdir(checkpoint) == os.listdir(directory)
    assert Checkpoint(checkpoint) == checkpoint


def test_a_remote_checkpoint_is_no_path(remote: Checkpoint) -> None:
    with pytest.raises(
        StorageError, match=r"no local path leads: read it in `with checkpoint\.as_"
    ):
        os.path.join(remote, "model.bin")


def test_repr_shows_filesystem_and_path() -> None:
    assert repr(Checkpoint("/a/b")) == "Checkpoint(filesystem=local, path=/a/b)"
    assert repr(Checkpoint("memory://a/b")) == "Checkpoint(filesystem=memory, path=/a/b)"


def test_subclasses_are_kept(directory: str) -> None:
    class TorchCheckpoint(Checkpoint):
        pass

    assert type(TorchCheckpoint.from_directory(directory)) is TorchCheckpoint


def test_local_checkpoints_import_no_filesystem_library(directory: str) -> None:
    script = (
        "import sys\n"
        "from tuner.checkpoint import Checkpoint\n"
        f"checkpoint = Checkpoint.from_directory({directory!r})\n"
        "checkpoint.update_metadata({'a': 1})\n"
        f"checkpoint.to_directory({directory!r} + '_copy')\n"
        "with checkpoint.as_directory(): pass\n"
        "heavy = {'fsspec', 'pyarrow', 'numpy', 'pandas', 'filelock'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_metadata_is_a_dictionary(directory: str) -> None:
    with pytest.raises(ConfigError, match="metadata=3 must be a dictionary"):
        Checkpoint(directory).set_metadata(3)  # type: ignore[arg-type]
