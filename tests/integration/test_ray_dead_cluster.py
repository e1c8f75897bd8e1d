"""Experiments on a machine where Ray's file names a cluster that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ports import free_port

pytest.importorskip("ray")

SCRIPT = """
import tuner as tune

def train(config):
    tune.report({"x": 1})

tune.Tuner(train, run_config=tune.RunConfig(executor="ray")).fit()
"""


@pytest.mark.slow
def test_a_cluster_is_started_and_the_file_is_named(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as ray_folder:
        pointer = Path(ray_folder, "ray", "ray_current_cluster")
        pointer.parent.mkdir()
        address = f"127.0.0.1:{free_port()}"
        pointer.write_text(address)
        environ = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environ | {"RAY_TMPDIR": ray_folder, "TUNER_RESULTS_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=240,  # Ray by itself tries for minutes
        )
        assert done.returncode == 0, done.stderr
        assert "1/1 (1 TERMINATED)" in done.stdout
        assert (
            f"starting a Ray cluster here, as nobody answers at {address}, where {pointer} says"
        ) in done.stderr
        assert pointer.read_text() == address
