"""Asks a running experiment all that the server's document allows, and much that it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from steered_experiment import steered

pytest.importorskip("schemathesis")
pytestmark = pytest.mark.slow

SETTINGS = """
[[operations]]
include-path = "/events"
parameters = { follow = false }
"""
TIMEOUT_S = 300


def fuzz(folder: Path, address: str, token: str, *options: str) -> None:
    (folder / "schemathesis.toml").write_text(SETTINGS)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"]
    done = subprocess.run(
        [*command, "--header", f"Authorization: Bearer {token}", "--seed", "1", *options],
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "server_fuzz_hooks",
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_the_server_keeps_to_its_document(tmp_path: Path) -> None:
    """With every check that schemathesis has; the experiment then goes on as before."""
    with steered(tmp_path, space="{}") as (client, token):
        stop = "/experiment/stop"
        every = ["--checks", "all", "--continue-on-failure", "--request-timeout", "30"]
        fuzz(tmp_path, client.address, token, *every, "--max-examples=60", "--exclude-path", stop)
        fuzz(tmp_path, client.address, token, *every, "--mode=negative", "--include-path", stop)
        assert client.get_experiment()["status"] == "RUNNING"
        (trial_id,) = client.add_trial("last", {})
        assert client.get_trial(trial_id)["status"] == "PENDING"
        client.stop_experiment()
