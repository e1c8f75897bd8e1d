"""An experiment with each search library, killed and restored, tries what it would have tried."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fit_helpers import marked_processes, start_script, wait_until
from searchers import parameters

from tuner.integrations.library_searcher import LibrarySearcher

SCRIPT = """
import importlib, json, os, sys, threading
import tuner as tune
from tuner.experiment import snapshots

def value(config):
    return (config["x"] - 1) ** 2 + abs(config["n"] - 4)

def train(config):
    with open("../started", "a") as file:
        file.write("started\\n")
    if "HOLD" in os.environ and len(open("../started").readlines()) == 5:
        threading.Event().wait()
    return {"loss": value(config)}

# The model has to propose from the first trial on, not a library's random design.
known = [{"x": x / 2, "n": 1 + x % 7} for x in range(-6, 7)]
if os.environ.get("SNAPSHOTS"):
    snapshots.MIN_GROWTH_BYTES, snapshots.MIN_PERIOD_S, snapshots._COST_SHARE = 1, 0.0, 1.0
if tune.Tuner.can_restore("run"):
    tuner = tune.Tuner.restore("run")
else:
    kind = getattr(importlib.import_module(os.environ["MODULE"]), os.environ["CLASS"])
    searcher = kind(points_to_evaluate=known, evaluated_rewards=[value(each) for each in known])
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.uniform(-5, 5), "n": tune.randint(1, 9), "constant": 1},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", search_alg=searcher, num_samples=9, seed=5,
            max_concurrent_trials=1,
        ),
        run_config=tune.RunConfig(name="run", storage_path=os.getcwd(), verbose=0),
    )
json.dump([result.config for result in tuner.fit()], open("configs.json", "w"))
"""


@contextlib.contextmanager
def driver(kind: type[LibrarySearcher], folder: Path, **environ: str) -> Iterator[Any]:
    """The script, in processes of its own; leaving kills what is left of them."""
    mark = str(folder)
    named = {"MODULE": kind.__module__, "CLASS": kind.__name__}
    with start_script(SCRIPT, folder, mark, **named, **environ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            wait_until(lambda: not marked_processes(mark))


def configs(kind: type[LibrarySearcher], folder: Path, **environ: str) -> list[dict[str, Any]]:
    """What all trials have tried when the experiment has ended."""
    with driver(kind, folder, **environ) as process:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    found: list[dict[str, Any]] = json.loads((folder / "configs.json").read_text())
    return found


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The configurations of an experiment that nobody has killed."""
    return cache(lambda kind: configs(kind, tmp_path_factory.mktemp(kind.__name__)))


def num_started(folder: Path) -> int:
    path = folder / "run" / "started"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("snapshots", [False, True], ids=["replay", "snapshot"])
@pytest.mark.parametrize("kind", parameters())
def test_a_killed_one_proposes_what_it_would_have_proposed(
    kind: type[LibrarySearcher], snapshots: bool, untouched: Any, tmp_path: Path
) -> None:
    often = {"SNAPSHOTS": "1"} if snapshots else {}
    with driver(kind, tmp_path, HOLD="1", **often) as process:
        wait_until(lambda: num_started(tmp_path) == 5 or process.poll() is not None)
        assert process.poll() is None, process.stdout.read()
        os.killpg(process.pid, signal.SIGKILL)
    written = [*(tmp_path / "run" / "snapshots").glob("*.pkl")]
    assert bool(written) == snapshots
    restored = configs(kind, tmp_path)
    assert restored == untouched(kind)
    assert len(restored) == 9
    assert len({json.dumps(config) for config in restored}) > 6
    assert num_started(tmp_path) == 10, "the trial that was killed began twice, no other one"
