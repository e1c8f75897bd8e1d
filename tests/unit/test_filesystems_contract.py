"""What the library asks of every filesystem. A new one joins by one line in `FILESYSTEMS`."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from servers import S3_KEY, S3_SECRET

from tuner.checkpoint import Checkpoint
from tuner.filesystems import (
    create_file,
    download_tree,
    exists,
    is_directory,
    join,
    list_names,
    read_bytes,
    remove_file,
    remove_tree,
    resolve,
    upload_files,
    upload_tree,
    write_bytes,
)
from tuner.handshake import new_secret
from tuner.storage.file_server import FileServer

Place = tuple[str, Any]
"""What a user gives: a path or URL, and a filesystem or None."""


def memory(request: pytest.FixtureRequest) -> Place:
    return f"memory://{request.getfixturevalue('tmp_path').name}/exp", None


def directory(request: pytest.FixtureRequest) -> Place:
    path = str(request.getfixturevalue("tmp_path"))
    return "exp", DirFileSystem(path=path, fs=LocalFileSystem())


def s3(request: pytest.FixtureRequest) -> Place:
    return f"{request.getfixturevalue('s3_server').url}/exp", None


def azure(request: pytest.FixtureRequest) -> Place:
    return f"{request.getfixturevalue('azure_server').url}/exp", None


def arrow_local(request: pytest.FixtureRequest) -> Place:
    path = str(request.getfixturevalue("tmp_path"))
    return "exp", pyarrow.fs.SubTreeFileSystem(path, pyarrow.fs.LocalFileSystem())


def arrow_s3(request: pytest.FixtureRequest) -> Place:
    server = request.getfixturevalue("s3_server")
    filesystem = pyarrow.fs.S3FileSystem(
        access_key=S3_KEY,
        secret_key=S3_SECRET,
        scheme="http",
        region="us-east-1",
        endpoint_override=f"127.0.0.1:{server.port}",
    )
    return f"{server.name}/exp", filesystem


def arrow_over_s3fs(request: pytest.FixtureRequest) -> Place:
    server = request.getfixturevalue("s3_server")
    filesystem = fsspec.filesystem("s3", **server.options)
    return f"{server.name}/exp", pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem))


def served(request: pytest.FixtureRequest) -> Place:
    path = str(request.getfixturevalue("tmp_path"))
    server = FileServer(path, "127.0.0.1", new_secret())
    request.addfinalizer(server.close)
    return f"{path}/exp", server.filesystem


FILESYSTEMS: list[Callable[[pytest.FixtureRequest], Place]] = [
    memory,
    directory,
    s3,
    azure,
    arrow_local,
    arrow_s3,
    arrow_over_s3fs,
    served,
]

FILES = {
    "model.bin": b"weights",
    "empty": b"",
    "deep/er/state": b"state",
    "with space": b"1",
    "hash#1": b"2",
    "100%": b"3",
    "a%20b": b"4",
    "what?now": b"5",
    "star*[a]": b"6",
    "grüße-日本": b"7",
    ".hidden": b"8",
    "a+b=c&d": b"9",
}


@pytest.fixture(params=FILESYSTEMS, ids=lambda kind: kind.__name__)
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.param(request)
    return made


@pytest.fixture
def fs(place: Place) -> fsspec.AbstractFileSystem:
    filesystem, _ = resolve(*place)
    assert filesystem is not None
    return filesystem


@pytest.fixture
def path(place: Place) -> str:
    return resolve(*place)[1]


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A local directory with files of all sorts of names."""
    for name, content in FILES.items():
        file = tmp_path / "source" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return str(tmp_path / "source")


def files_below(folder: str | Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_paths_end_without_a_slash(place: Place, path: str) -> None:
    assert resolve(f"{place[0]}/", place[1])[1] == path
    assert path.endswith("exp")


def test_what_is_written_is_read(fs: fsspec.AbstractFileSystem, path: str) -> None:
    for name in FILES:
        file = join(path, name)
        assert read_bytes(fs, file) is None, name
        assert not exists(fs, file), name
        for content in (b"first", b"", FILES[name]):
            write_bytes(fs, file, content)
            assert read_bytes(fs, file) == content, name
        assert exists(fs, file), name
        assert not is_directory(fs, file), name
        remove_file(fs, file)
        assert read_bytes(fs, file) is None, name
        assert not exists(fs, file), name


def test_a_file_is_created_once(fs: fsspec.AbstractFileSystem, path: str) -> None:
    create_file(fs, join(path, "lock"), b"first")
    with pytest.raises(FileExistsError):
        create_file(fs, join(path, "lock"), b"second")
    assert read_bytes(fs, join(path, "lock")) == b"first"
    remove_file(fs, join(path, "lock"))
    create_file(fs, join(path, "lock"), b"third")
    assert read_bytes(fs, join(path, "lock")) == b"third"


def test_directories_are_seen_and_listed(fs: fsspec.AbstractFileSystem, path: str) -> None:
    assert not is_directory(fs, path)
    with pytest.raises(FileNotFoundError):
        list_names(fs, path)
    for name in FILES:
        write_bytes(fs, join(path, name), b"x")
    assert is_directory(fs, path)
    assert is_directory(fs, join(path, "deep/er"))
    assert exists(fs, join(path, "deep"))
    assert list_names(fs, path) == sorted({name.partition("/")[0] for name in FILES})
    assert list_names(fs, join(path, "deep")) == ["er"]


def test_what_another_process_writes_is_seen(
    fs: fsspec.AbstractFileSystem, path: str, place: Place
) -> None:
    if place[0].startswith("memory://"):
        pytest.skip("every process has a memory of its own")
    write_bytes(fs, join(path, "mine"), b"")
    assert list_names(fs, path) == ["mine"]
    assert not is_directory(fs, join(path, "folder"))
    assert not exists(fs, join(path, "theirs"))
    script = (
        "import pickle, sys\n"
        "from tuner.filesystems import join, write_bytes\n"
        "fs, path = pickle.load(sys.stdin.buffer)\n"
        "write_bytes(fs, join(path, 'theirs'), b'x')\n"
        "write_bytes(fs, join(path, 'folder/file'), b'y')\n"
    )
    content = pickle.dumps((fs, path))
    subprocess.run([sys.executable, "-c", script], input=content, check=True, timeout=240)
    assert list_names(fs, path) == ["folder", "mine", "theirs"]
    assert is_directory(fs, join(path, "folder"))
    assert exists(fs, join(path, "theirs"))
    assert read_bytes(fs, join(path, "folder/file")) == b"y"


def test_a_tree_goes_up_and_comes_down(
    fs: fsspec.AbstractFileSystem, path: str, source: str, tmp_path: Path
) -> None:
    upload_tree(fs, source, join(path, "tree"))
    download_tree(fs, join(path, "tree"), str(tmp_path / "target"))
    assert files_below(tmp_path / "target") == FILES


def test_links_are_followed(
    fs: fsspec.AbstractFileSystem, path: str, source: str, tmp_path: Path
) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "file").symlink_to(f"{source}/model.bin")
    (folder / "folder").symlink_to(f"{source}/deep")
    upload_tree(fs, str(folder), join(path, "tree"))
    assert read_bytes(fs, join(path, "tree/file")) == FILES["model.bin"]
    assert read_bytes(fs, join(path, "tree/folder/er/state")) == FILES["deep/er/state"]


def test_an_empty_tree_is_no_error(
    fs: fsspec.AbstractFileSystem, path: str, tmp_path: Path
) -> None:
    (tmp_path / "nothing/inside").mkdir(parents=True)
    upload_tree(fs, str(tmp_path / "nothing"), join(path, "tree"))
    download_tree(fs, join(path, "tree"), str(tmp_path / "target"))
    assert files_below(tmp_path / "target") == {}
    assert os.path.isdir(tmp_path / "target")


def test_files_take_the_place_of_older_ones(
    fs: fsspec.AbstractFileSystem, path: str, source: str
) -> None:
    write_bytes(fs, join(path, "renamed"), b"old")
    upload_files(
        fs, [f"{source}/model.bin", f"{source}/empty"], [join(path, "renamed"), join(path, "b/c")]
    )
    assert read_bytes(fs, join(path, "renamed")) == FILES["model.bin"]
    assert read_bytes(fs, join(path, "b/c")) == b""


@pytest.mark.slow
def test_large_files_and_many_small_ones(
    fs: fsspec.AbstractFileSystem, path: str, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    (folder / "small").mkdir(parents=True)
    (folder / "large").write_bytes(os.urandom(20_000_000))
    for i in range(500):
        (folder / f"small/{i:03d}").write_bytes(str(i).encode())
    upload_tree(fs, str(folder), join(path, "tree"))
    assert list_names(fs, join(path, "tree/small")) == [f"{i:03d}" for i in range(500)]
    download_tree(fs, join(path, "tree"), str(tmp_path / "target"))
    assert files_below(tmp_path / "target") == files_below(folder)
    remove_tree(fs, join(path, "tree"))
    assert not exists(fs, join(path, "tree"))


@pytest.mark.parametrize("name", ["tree", "tr*[e]"])
def test_a_tree_is_removed_whole_and_alone(
    name: str, fs: fsspec.AbstractFileSystem, path: str, source: str
) -> None:
    for each in (name, "tree2"):
        upload_tree(fs, source, join(path, each))
    remove_tree(fs, join(path, name))
    assert not exists(fs, join(path, name))
    assert list_names(fs, path) == ["tree2"]
    remove_tree(fs, join(path, name))
    remove_tree(fs, join(path, "tree2/model.bin"))
    remove_file(fs, join(path, "tree2/empty"))
    remove_file(fs, join(path, "tree2/empty"))
    assert "hash#1" in list_names(fs, join(path, "tree2"))
    assert not {"model.bin", "empty"} & set(list_names(fs, join(path, "tree2")))


def test_checkpoints_are_used_from_there(
    fs: fsspec.AbstractFileSystem, path: str, place: Place, source: str, tmp_path: Path
) -> None:
    upload_tree(fs, source, join(path, "checkpoint_000003"))
    checkpoint = Checkpoint(f"{place[0]}/checkpoint_000003", place[1])
    assert checkpoint == Checkpoint(join(path, "checkpoint_000003"), fs)
    assert checkpoint.get_metadata() == {}
    checkpoint.set_metadata({"epoch": 1})
    checkpoint.update_metadata({"best": True})
    with checkpoint.as_directory() as folder:
        assert {k: v for k, v in files_below(folder).items() if k != ".metadata.json"} == FILES
    copy = pickle.loads(pickle.dumps(checkpoint))
    assert copy == checkpoint
    assert copy.get_metadata() == {"epoch": 1, "best": True}
    assert Path(copy.to_directory(tmp_path / "kept"), "model.bin").read_bytes() == b"weights"


def test_a_checkpoint_is_used_after_a_fork(fs: fsspec.AbstractFileSystem, place: Place) -> None:
    """As in a worker, whose trainable was unpickled by the fork server before."""
    checkpoint = Checkpoint(f"{place[0]}/checkpoint_000003", place[1])
    checkpoint.set_metadata({"epoch": 1})
    process = multiprocessing.get_context("fork").Process(target=_use, args=(checkpoint,))
    process.start()
    process.join(120)
    assert process.exitcode == 0


def _use(checkpoint: Checkpoint) -> None:
    assert checkpoint.get_metadata() == {"epoch": 1}
    with checkpoint.as_directory() as folder:
        assert os.listdir(folder) == [".metadata.json"]
