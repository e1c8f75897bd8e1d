"""Trainables, storages and what is looked at in the tests of experiments on remote storage."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

import tuner as tune
from tuner.filesystems import as_fsspec, read_bytes, resolve, write_bytes
from tuner.storage.storage import Storage, locate


@dataclass(frozen=True)
class Place:
    """Where a test keeps experiments: what a user gives as `storage_path` and filesystem."""

    path: str
    filesystem: Any = None

    def child(self, name: str) -> str:
        return f"{self.path}/{name}"

    def run_config(self, **fields: Any) -> tune.RunConfig:
        return tune.RunConfig(
            storage_path=self.path,
            storage_filesystem=self.filesystem,
            **{"name": "run", "verbose": 0, **fields},
        )

    def restore(self, name: str = "run", **arguments: Any) -> tune.Tuner:
        path = self.child(name)
        return tune.Tuner.restore(path, storage_filesystem=self.filesystem, **arguments)

    def write(self, path: str, content: bytes, name: str = "run") -> None:
        fs, where = resolve(self.child(name), self.filesystem)
        write_bytes(fs, f"{where}/{path}", content)

    def files(self, name: str = "run") -> dict[str, bytes]:
        """What lies in an experiment's folder, by the paths in it."""
        storage, where = locate(self.child(name), self.filesystem)
        if storage is None:
            found = (each for each in Path(where).rglob("*") if each.is_file())
            return {str(each.relative_to(where)): each.read_bytes() for each in found}
        return remote_files(storage)


def remote_files(storage: Storage) -> dict[str, bytes]:
    fs = as_fsspec(storage.fs)
    assert fs is not None
    fs.invalidate_cache()
    root = storage.path.strip("/")
    found = {}
    for path in fs.find(storage.path):
        content = read_bytes(fs, path)
        if content is not None:  # deleted meanwhile
            found[path.strip("/").removeprefix(root).lstrip("/")] = content
    return found


def journal(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """All facts in the journal of an experiment, whose numbers have to follow each other."""
    names = sorted(name for name in files if name.startswith("journal/") and ".jsonl" in name)
    assert names == [f"journal/{n:08d}.jsonl" for n in range(1, len(names) + 1)]
    lines = [line for name in names for line in files[name].splitlines()]
    return [orjson.loads(line.partition(b"\t")[0]) for line in lines]


def rows(files: dict[str, bytes], dirname: str) -> list[dict[str, Any]]:
    """The results in a trial's `result.json`."""
    return [json.loads(line) for line in files[f"{dirname}/result.json"].splitlines()]


def dirnames(grid: tune.ResultGrid) -> list[str]:
    return [result.path.rstrip("/").rpartition("/")[2] for result in grid]


@contextmanager
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What runs within the block runs as on a machine that has nothing of the experiment."""
    with monkeypatch.context() as patch:
        patch.setenv("TUNER_STAGING_DIR", str(folder))
        yield


def start_of(name: str = "n") -> int:
    """Where a trial goes on: behind what its checkpoint says."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        return int(Path(folder, name).read_text())


def report(n: int, **metrics: Any) -> None:
    """Reports with a checkpoint that says how far the trial has come."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "n").write_text(str(n))
        Path(folder, "deep").mkdir()
        Path(folder, "deep", "weights").write_bytes(bytes(1000))
        tune.report({"n": n, **metrics}, checkpoint=tune.Checkpoint.from_directory(folder))


def train(config: dict[str, Any]) -> None:
    """Six results, each with a checkpoint."""
    for n in range(start_of() + 1, 7):
        report(n, loss=config["x"] / n)


class Counter(tune.Trainable):
    """A class that counts its steps."""

    def setup(self, config: dict[str, Any]) -> None:
        self.n = 0

    def step(self) -> dict[str, Any]:
        self.n += 1
        return {"n": self.n, "loss": self.config["x"] / self.n}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "n").write_text(str(self.n))

    def load_checkpoint(self, folder: Any) -> None:
        self.n = int(Path(folder, "n").read_text())

    def reset_config(self, config: dict[str, Any]) -> bool:
        self.n = 0
        return True
