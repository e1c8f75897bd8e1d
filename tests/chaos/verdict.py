"""Judges an experiment that was killed: by its ledger, and by one that was never killed."""

from __future__ import annotations

import csv
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from experiment import SYNC_PERIOD_S
from harness import NUM_TRIALS, Chaos
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tuner as tune
from tuner.experiment.folder import OF_ONE_RUN

# It warns of results that were superseded, which is what it is to make of them.
logging.getLogger("tensorboard").setLevel(logging.ERROR)

SLACK_S = 2.0
"""How much later than promised an upload may be on a busy machine."""

Numbers = dict[str, list[int]]
"""The numbers of the results of each trial, in their order."""


@dataclass
class Verdict:
    """What became of an experiment.

    Attributes:
        acknowledged: Reports that had returned.
        given_up: Those of them that were lost with a machine, with the seconds that they had been
            there by then; only the youngest may.
        lost: The others that the journal, the results or a file do not have.
        finished: Trials that had ended, as the driver knew.
        again: Those of them that were started again.
        doubled: Results that the results or a file have more than once.
        wrong: What else is not as it should be.
    """

    acknowledged: int = 0
    given_up: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    finished: int = 0
    again: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is to be complained of."""
        return not (self.lost or self.again or self.doubled or self.wrong)


def judge(chaos: Chaos) -> Verdict:
    """Compares the ledger with what the folder of an experiment that has ended holds."""
    verdict = Verdict()
    path, ledger = chaos.fetched(), chaos.ledger()
    reports = {_report(line): float(line[4]) for line in ledger if line[0] == "reported"}
    safe = {report for report, when in reports.items() if _is_safe(when, chaos)}
    journaled = _journaled(path)
    verdict.acknowledged = len(reports)
    verdict.given_up = [
        min(moved - reports[report] for moved in chaos.moves if moved > reports[report])
        for report in reports.keys() - journaled - safe
    ]
    verdict.lost += [f"journal: {each}" for each in sorted(safe - journaled)]
    numbers = {(trial, n) for trial, _, n in safe}
    grid = tune.Tuner.restore(chaos.url).get_results()
    for source, kept in _recorded(grid, path).items():
        _compare(source, kept, numbers, verdict)
    _judge_ends(chaos, verdict)
    verdict.wrong += [f"a torn checkpoint: {line}" for line in ledger if line[0] == "torn"]
    verdict.wrong += [f"left over: {each}" for each in _left_over(chaos, grid, path)]
    return verdict


def outcome(chaos: Chaos) -> list[tuple[Any, ...]]:
    """Each trial's configuration, status and last result, then the best trial's."""
    grid = tune.Tuner.restore(chaos.url).get_results()
    rows = [(r.config["x"], r.status, r.metrics["n"], r.metrics["loss"]) for r in grid]
    best = grid.get_best_result()
    return [*rows, (best.config["x"], best.metrics["loss"])]


def _report(line: list[str]) -> tuple[str, int, int]:
    """Trial, process and number of a result."""
    return line[1], int(line[2]), int(line[3])


def _is_safe(when: float, chaos: Chaos) -> bool:
    """Whether something happened long enough before the loss of a machine to be on the storage."""
    longest = SYNC_PERIOD_S + SLACK_S
    return not any(moved - longest <= when <= moved for moved in chaos.moves)


def _left_over(chaos: Chaos, grid: tune.ResultGrid, path: Path) -> list[str]:
    """What lies in the folders and belongs to nothing."""
    found = {*path.glob("*/checkpoint_*"), *path.glob("*/.checkpoint_*")}
    for result in grid:
        folder = path / Path(result.path).name
        found -= {folder / Path(each.path).name for each, _ in result.best_checkpoints}
        found.discard(folder / Path(result.checkpoint.path).name)
    if chaos.is_remote:
        known = {*OF_ONE_RUN, *(Path(result.path).name for result in grid)}
        found |= {each for each in path.iterdir() if each.name not in known}
        found |= {*chaos.staging.rglob("*")}
    return sorted(map(str, found))


def _judge_ends(chaos: Chaos, verdict: Verdict) -> None:
    ended: set[str] = set()
    for kind, trial, *more in chaos.ledger():
        if kind == "started" and trial in ended:
            verdict.again.append(trial)
        elif kind == "ended" and _is_safe(float(more[0]), chaos):
            ended.add(trial)
    verdict.finished = len(ended)


def _compare(
    source: str, kept: Numbers, acknowledged: set[tuple[str, int]], verdict: Verdict
) -> None:
    have = {(trial, n) for trial, numbers in kept.items() for n in numbers}
    verdict.lost += [f"{source}: {each}" for each in sorted(acknowledged - have)]
    for trial, numbers in kept.items():
        twice = [n for n, times in Counter(numbers).items() if times > 1]
        verdict.doubled += [f"{source}: {trial} {n}" for n in twice]
        if not twice and numbers != [*range(1, len(numbers) + 1)]:
            verdict.wrong.append(f"{source}: {trial} has {numbers}")


def _journaled(path: Path) -> set[tuple[str, int, int]]:
    """Trial, process and number of each result in the journal, read as plain lines."""
    found = set()
    for segment in sorted(path.glob("journal/*.jsonl")):
        for line in segment.read_text().splitlines():
            fact = json.loads(line)
            if fact["event"] == "result":
                result = fact["result"]
                found.add((fact["trial_id"], result["pid"], result["n"]))
    return found


def _recorded(grid: tune.ResultGrid, path: Path) -> Mapping[str, Numbers]:
    """What each record that people read has of each trial."""
    folders = {result.metrics["trial_id"]: path / Path(result.path).name for result in grid}
    return {
        "metrics_dataframe": {
            result.metrics["trial_id"]: result.metrics_dataframe["n"].tolist() for result in grid
        },
        "result.json": {trial: _in_json(folder) for trial, folder in folders.items()},
        "progress.csv": {trial: _in_csv(folder) for trial, folder in folders.items()},
        "TensorBoard": {trial: _in_tensorboard(folder) for trial, folder in folders.items()},
        "results.parquet": _in_parquet(path),
    }


def _in_json(folder: Path) -> list[int]:
    return [json.loads(line)["n"] for line in (folder / "result.json").read_text().splitlines()]


def _in_csv(folder: Path) -> list[int]:
    with open(folder / "progress.csv") as file:
        return [int(row["n"]) for row in csv.DictReader(file)]


def _in_tensorboard(folder: Path) -> list[int]:
    events = EventAccumulator(str(folder)).Reload()
    return [int(event.value) for event in events.Scalars("ray/tune/n")]


def _in_parquet(path: Path) -> Numbers:
    table = parquet.read_table(path / "results.parquet", columns=["trial_id", "n"])
    numbers: Numbers = {}
    for row in table.to_pylist():
        numbers.setdefault(row["trial_id"], []).append(row["n"])
    return numbers


@cache
def untouched(policy: str, num_trials: int = NUM_TRIALS) -> list[tuple[Any, ...]]:
    """The outcome of an experiment that nobody kills."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Chaos(Path(folder) / policy, policy, num_trials) as chaos,
    ):
        chaos.finish()
        assert judge(chaos).is_clean
        return outcome(chaos)
