"""What the tests of whole experiments share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tuner as tune

MARK = "TUNER_TEST_MARK"


def fit(
    trainable: Any,
    folder: Path,
    *,
    space: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    **tune_config: Any,
) -> tune.ResultGrid:
    """Runs an experiment silently in `folder`."""
    return tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(**tune_config),
        run_config=tune.RunConfig(**{"storage_path": str(folder), "verbose": 0, **(run or {})}),
    ).fit()


def wait_until(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    """Looks again and again until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def run_script(text: str, folder: Path, *, environ: Mapping[str, str] = os.environ) -> str:
    """Runs a script as a user would, and returns what it printed."""
    path = folder / "user_script.py"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
        env={**environ, "TUNER_RESULTS_DIR": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start_script(text: str, folder: Path, mark: str, **env: str) -> subprocess.Popen[str]:
    """Starts a script, in a group of its own, whose processes all carry a mark."""
    path = folder / "user_script.py"
    path.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "TUNER_RESULTS_DIR": str(folder), MARK: mark, **env},
        start_new_session=True,
    )


def marked_processes(mark: str) -> dict[int, str]:
    """All living processes that carry the mark: their command lines by process id."""
    needle = f"{MARK}={mark}".encode()
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if needle in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(process.name)] = command
        except OSError:
            continue
    return found


def append(name: str, text: str) -> None:
    """Adds a text to a file, which processes share."""
    with open(name, "a") as file:
        file.write(text)


def train_with_checkpoints(config: dict[str, Any]) -> None:
    """Six results, every other one with a checkpoint; calls `config["die"]` once in the middle."""
    checkpoint, start = tune.get_checkpoint(), 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = json.loads(Path(folder, "i").read_text()) + 1
    for i in range(start, 6):
        Path("folder").mkdir(exist_ok=True)
        Path("folder", "i").write_text(json.dumps(i))
        append("runs", f"{i}\n")
        kept = tune.Checkpoint.from_directory("folder") if i % 2 == 0 else None
        tune.report({"i": i, "score": -i}, checkpoint=kept)
        if i == 3 and start == 0:
            config["die"]()
