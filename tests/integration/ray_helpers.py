"""What the tests on Ray clusters share: experiments that go on while the cluster changes."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fit_helpers import append, fit, wait_until
from ray_clusters import raylet_here

import tuner as tune

PATIENCE_S = 240.0


def fit_meanwhile(trainable: Any, folder: Path, **options: Any) -> Future[tune.ResultGrid]:
    """Runs an experiment in a thread, as only the main thread can add nodes to a cluster."""
    future: Future[tune.ResultGrid] = Future()

    def run() -> None:
        try:
            future.set_result(fit(trainable, folder, **options))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def wait_for(path: Path) -> None:
    """In a trial: waits until a file is there."""
    wait_until(path.exists, PATIENCE_S)


def saved_steps(config: dict[str, Any]) -> None:
    """So many steps as `config["steps"]`, each with a checkpoint; waits after step 2 for a gate.

    Beside the gate, a line for each attempt tells the trial, its process and its node.
    """
    gate, checkpoint, start = Path(config["gate"]), tune.get_checkpoint(), 0
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = int(Path(folder, "i").read_text()) + 1
    name = str(tune.get_context().get_trial_id())
    line = json.dumps([name, os.getpid(), raylet_here(), start])
    append(f"{gate}.attempts", f"{line}\n")
    for i in range(start, config["steps"]):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "i").write_text(str(i))
            kept = tune.Checkpoint.from_directory(folder) if i % 2 == 0 else None
            tune.report({"i": i, "node": raylet_here(), "pid": os.getpid()}, checkpoint=kept)
        if i == 3:
            append(f"{gate}.halfway", f"{name}\n")
            wait_for(gate)


def attempts(gate: Path) -> list[tuple[str, int, int, int]]:
    """What `saved_steps` tells of its attempts: trial, process, node, and the first step."""
    path = Path(f"{gate}.attempts")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def num_halfway(gate: Path) -> int:
    """How many attempts have come to the gate."""
    path = Path(f"{gate}.halfway")
    return len(path.read_text().splitlines()) if path.exists() else 0


def assert_complete(result: tune.Result, steps: int) -> None:
    """Each step is there once, in order, wherever results can be read."""
    assert (result.status, result.error) == ("TERMINATED", None)
    assert result.metrics_dataframe is not None
    assert result.metrics_dataframe["i"].tolist() == list(range(steps))
    lines = Path(result.path, "result.json").read_text().splitlines()
    assert [json.loads(line)["i"] for line in lines] == list(range(steps))
    iterations = [json.loads(line)["training_iteration"] for line in lines]
    assert iterations == list(range(1, steps + 1))


def journal(grid: tune.ResultGrid) -> list[dict[str, Any]]:
    """All lines of the journal."""
    folder = Path(grid.experiment_path, "journal")
    texts = (path.read_text() for path in sorted(folder.glob("*.jsonl")))
    return [json.loads(line) for text in texts for line in text.splitlines()]


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] == "Z"


def wait_until_gone(*pids: int) -> None:
    """Waits until processes have ended."""
    wait_until(lambda: all(map(is_gone, pids)), PATIENCE_S)
