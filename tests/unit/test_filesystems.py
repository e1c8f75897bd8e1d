import os
import pickle
import subprocess
import sys
from pathlib import Path

import fsspec
import pyarrow.fs
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.local import LocalFileSystem

from tuner.errors import ConfigError
from tuner.filesystems import list_names, read_bytes, resolve, write_bytes


@pytest.mark.parametrize(
    "filesystem", [None, LocalFileSystem(), pyarrow.fs.LocalFileSystem()], ids=["none", "fs", "pa"]
)
@pytest.mark.parametrize("path", ["/a/b", "/a/b/", "file:///a/b", "local:///a/b", Path("/a/b")])
def test_local_paths_need_no_filesystem(path: str | Path, filesystem: object) -> None:
    assert resolve(path, filesystem) == (None, "/a/b")


def test_local_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert resolve("run") == (None, str(tmp_path / "run"))
    assert resolve("~/run") == (None, "/home/me/run")


def test_a_filesystem_behind_pyarrow_is_unwrapped() -> None:
    memory = fsspec.filesystem("memory")
    wrapped = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(memory))
    assert resolve("/bucket/run", wrapped) == (memory, "/bucket/run")
    local = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(LocalFileSystem()))
    assert resolve("/bucket/run", local) == (None, "/bucket/run")


def test_a_pyarrow_filesystem_is_wrapped(tmp_path: Path) -> None:
    arrow = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    filesystem, path = resolve("run", arrow)
    assert isinstance(filesystem, ArrowFSWrapper)
    assert path == "run"


def test_an_unknown_protocol_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r"^path='nope://x/y' cannot be used: .*s3://.*$"):
        resolve("nope://x/y")


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [
        ("s3://bucket/run", "s3fs", "s3"),
        ("gs://bucket/run", "gcsfs", "gcs"),
        ("az://container/run", "adlfs", "azure"),
        ("abfs://container/run", "adlfs", "azure"),
    ],
)
def test_a_missing_library_names_the_extra(url: str, library: str, extra: str) -> None:
    script = (
        "import sys\n"
        f"sys.modules[{library!r}] = None\n"
        "from tuner.errors import MissingDependencyError\n"
        "from tuner.filesystems import resolve\n"
        "try:\n"
        f"    resolve({url!r})\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=240
    )
    assert done.stdout.startswith(f"path={url!r} needs a library")
    assert done.stdout.endswith(f'pip install "tuner[{extra}]"\n')


def test_an_account_without_credentials_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("adlfs")
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=r"^path='az://c/x' cannot .*; check the credentials"):
        resolve("az://c/x")


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_filesystem_of_pyarrow_that_came_pickled_is_known(kind: str) -> None:
    """Its module imports `pyarrow.fs` in no other way."""
    filesystem = (
        pyarrow.fs.SubTreeFileSystem("/tmp", pyarrow.fs.LocalFileSystem())
        if kind == "local"
        else pyarrow.fs.S3FileSystem(access_key="a", secret_key="b", region="us-east-1")
    )
    script = (
        "import pickle, sys\n"
        "from tuner.filesystems import resolve\n"
        "print(resolve('bucket/run', pickle.load(sys.stdin.buffer))[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=pickle.dumps(filesystem),
        check=True,
        capture_output=True,
        timeout=240,
    )
    assert done.stdout == b"bucket/run\n"


def test_something_else_than_a_filesystem_is_refused() -> None:
    with pytest.raises(ConfigError, match="filesystem='s3' is a str: pass an fsspec or a pyarrow"):
        resolve("bucket/run", "s3")


@pytest.mark.parametrize("remote", [False, True])
def test_files_are_written_read_and_listed(tmp_path: Path, remote: bool) -> None:
    folder = f"memory://{tmp_path.name}/f" if remote else str(tmp_path / "f")
    filesystem, path = resolve(folder)
    if not remote:
        os.mkdir(path)
    assert read_bytes(filesystem, f"{path}/b.txt") is None
    write_bytes(filesystem, f"{path}/b.txt", b"1")
    write_bytes(filesystem, f"{path}/b.txt", b"22")
    write_bytes(filesystem, f"{path}/a.txt", b"")
    assert read_bytes(filesystem, f"{path}/b.txt") == b"22"
    assert list_names(filesystem, path) == ["a.txt", "b.txt"]
