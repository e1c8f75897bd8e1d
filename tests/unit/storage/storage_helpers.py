"""Storages and experiments in a few facts for the tests of what brings them to remote storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from tuner.config import SyncConfig
from tuner.filesystems import read_bytes
from tuner.storage.lease import Lease
from tuner.storage.storage import Storage
from tuner.storage.upload_plan import UploadPlan


class BrokenFileSystem(DirFileSystem):
    """A folder of this machine that fails while the file `broken` lies beside it.

    What that file holds is part of the names of which writing fails.
    """

    @property
    def is_broken(self) -> bool:
        return Path(f"{self.path}.broken").exists()

    def break_for(self, part: str) -> None:
        Path(f"{self.path}.broken").write_text(part)

    def heal(self) -> None:
        Path(f"{self.path}.broken").unlink()

    def _check(self, paths: Any) -> None:
        names = [paths] if isinstance(paths, str) else paths
        if self.is_broken and any(Path(f"{self.path}.broken").read_text() in n for n in names):
            raise OSError("the storage is broken")

    def put(self, lpath: Any, rpath: Any, **kwargs: Any) -> Any:
        self._check(rpath)
        return super().put(lpath, rpath, **kwargs)

    def pipe_file(self, path: str, *args: Any, **kwargs: Any) -> Any:
        self._check(path)
        return super().pipe_file(path, *args, **kwargs)

    def rm(self, path: str, *args: Any, **kwargs: Any) -> Any:
        self._check(path)
        return super().rm(path, *args, **kwargs)


def folder_storage(folder: Path) -> Storage:
    """A storage that other processes see, in a folder of this machine."""
    folder.mkdir(exist_ok=True)
    fs = BrokenFileSystem(path=str(folder), fs=LocalFileSystem())
    return Storage(fs, "exp/run", fs)


def upload_plan(storage: Storage, **config: Any) -> UploadPlan:
    lease = Lease(storage)
    lease.acquire()
    fields = {"sync_period": 0.02, "sync_timeout": 120, **config}
    return UploadPlan(storage, SyncConfig(**fields), lease, ("stdout",))


def put(folder: Path, **files: bytes | str) -> None:
    """Writes files below a folder; `__` in a name stands for a slash, and `_dot_` for a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def files_on(storage: Storage) -> dict[str, bytes]:
    """What lies on a storage, by the paths in its folder."""
    storage.fs.invalidate_cache()
    root = storage.path.strip("/")
    contents = {path: read_bytes(storage.fs, path) for path in storage.fs.find(storage.path)}
    return {
        path.strip("/").removeprefix(root).lstrip("/"): content
        for path, content in contents.items()
        if content is not None  # else it was removed meanwhile
    }


def described(id_prefix: str = "abc") -> bytes:
    return orjson.dumps({"id_prefix": id_prefix, "format": 1})
