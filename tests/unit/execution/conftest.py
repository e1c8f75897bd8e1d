from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from tuner.storage.file_server import FileServer


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """A Ray cluster of two CPUs on this machine, to which this process is connected."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The trial's folder on the worker's node."""
    path = tmp_path / "scratch" / "t"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def server(there: Path) -> Iterator[FileServer]:
    """Serves the experiment of which `there` is a trial's folder."""
    server = FileServer(str(there.parent), "127.0.0.1", b"s" * 32)
    yield server
    server.close()
