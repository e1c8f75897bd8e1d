"""With every scheduler, an experiment that is killed midway ends as one that nobody touched."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scheduled

from tuner.experiment.events import TrialChanged, TrialCreated, TrialEnded, TrialResult
from tuner.experiment.journal_reader import JournalReader
from tuner.failpoints import LOG_VARIABLE, VARIABLE, Failpoint

NUM_KILLS = 3


def run(folder: Path, scheduler: str, kill_at: int | None = None) -> int:
    """Runs the driver, which is killed once it has written so often to the journal."""
    environ = dict(os.environ)
    if kill_at is not None:
        environ[VARIABLE] = f"{Failpoint.JOURNALED}:{kill_at}"
        environ[LOG_VARIABLE] = str(folder / f"failpoints-{random.getrandbits(64):x}")
    command = [sys.executable, scheduled.__file__, str(folder), scheduler]
    folder.mkdir(exist_ok=True)
    with open(folder / "stderr", "ab") as stderr:
        return subprocess.run(command, env=environ, stderr=stderr, timeout=240).returncode


def journal(folder: Path) -> list[Any]:
    return list(JournalReader(str(folder / scheduled.NAME)).read_all())


def outcome(folder: Path) -> dict[str, Any]:
    """What happened to each trial, by number; without times, and without what was repeated."""
    numbers: dict[str, int] = {}
    results: dict[int, list[Any]] = {}
    told: dict[int, list[Any]] = {}
    for fact in journal(folder):
        if isinstance(fact, TrialCreated):
            numbers[fact.trial_id] = fact.number
            told[fact.number] = [fact.config]
            results[fact.number] = []
        elif isinstance(fact, TrialResult):
            said = (fact.result["training_iteration"], fact.result["loss"])
            if said not in results[numbers[fact.trial_id]]:
                results[numbers[fact.trial_id]].append(said)
        elif isinstance(fact, TrialChanged):
            donor = None if fact.donor is None else numbers[fact.donor]
            told[numbers[fact.trial_id]].append((donor, fact.config, fact.bundles))
        elif isinstance(fact, TrialEnded) and fact.status in ("TERMINATED", "ERROR"):
            told[numbers[fact.trial_id]].append(fact.status)
    return {"results": results, "told": told}


@pytest.mark.parametrize("scheduler", scheduled.SCHEDULERS)
def test_the_outcome_with_kills_is_that_without(scheduler: str, tmp_path: Path) -> None:
    untouched, killed = tmp_path / "untouched", tmp_path / "killed"
    assert run(untouched, scheduler) == 0
    most = max(5, len(journal(untouched)) // 8)  # on a busy machine one write has several facts
    rng = random.Random(scheduler)
    codes = [run(killed, scheduler, rng.randint(3, most)) for _ in range(NUM_KILLS)]
    assert codes == [-signal.SIGKILL] * NUM_KILLS
    assert run(killed, scheduler) == 0
    assert outcome(killed) == outcome(untouched)
    assert "which wins" not in (killed / "stderr").read_text(), "a policy was overruled"
