"""Where experiments on remote storage are kept, and staged; running examples."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from example_runs import EXAMPLES, TIMEOUT_S, Run
from remote_helpers import Place
from servers import Bucket


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where experiments are staged; nothing may stay there."""
    path = tmp_path / "staging"
    monkeypatch.setenv("TUNER_STAGING_DIR", str(path))
    return path


@pytest.fixture
def place(s3_server: Bucket) -> Place:
    return Place(f"{s3_server.url}/exp")


@pytest.fixture
def run_example(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Runs an example with `--smoke-test` in an empty folder."""

    def run(
        name: str, *arguments: str, on_ray: bool = False, env: dict[str, str] | None = None
    ) -> Run:
        folder = tmp_path_factory.mktemp("example")
        results = folder / "results"
        done = subprocess.run(
            [sys.executable, EXAMPLES / name, "--smoke-test", *arguments],
            cwd=folder,
            env={**os.environ, "TUNER_RESULTS_DIR": str(results), **(env or {})},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if on_ray:
            assert re.search("Connected to Ray|Connecting to existing|Started a local", done.stderr)
        else:
            assert re.sub("completing the files in .* …\n", "", done.stderr) == ""
        assert [path.name for path in folder.iterdir()] == ["results"]
        (folder,) = results.iterdir()
        assert str(folder) in done.stdout
        return Run(done.stdout, folder)

    return run
