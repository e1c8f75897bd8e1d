"""Starts the experiment, kills parts of it, has it restored, and judges what became of it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import experiment
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tuner as tune

SCRIPT = Path(experiment.__file__)
RECORDER = "tuner.recording.recorder"


@dataclass
class Verdict:
    """What the ledger says of an experiment that was killed again and again.

    Attributes:
        kills: How often something was killed.
        acknowledged: Reports that had returned.
        lost: Those of them that are not among the results.
        finished: Trials that had ended before the last kill.
        again: Those of them that were started again.
        doubled: Results that are more than once in a file.
    """

    kills: int
    acknowledged: int
    lost: list[str] = field(default_factory=list)
    finished: int = 0
    again: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)


class Chaos:
    """One experiment in a folder.

    Args:
        folder: Where it writes.
        environ: Variables for its processes, beside those of this one.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.kills = 0
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> Path:
        """The experiment's folder."""
        return self.folder / experiment.NAME

    def ledger(self) -> list[list[str]]:
        """The lines of the ledger, as words."""
        path = self.folder / "ledger"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def start(self, environ: Mapping[str, str] | None = None) -> None:
        """Starts the driver: it restores what there is, or begins."""
        how = "restore" if tune.Tuner.can_restore(self.path) else "fit"
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), how, str(self.folder)],
            env={**self._environ, **(environ or {})},
            start_new_session=True,
        )

    def is_running(self) -> bool:
        """Whether the driver runs."""
        return self._process is not None and self._process.poll() is None

    def finish(self, timeout_s: float = 120) -> None:
        """Lets it come to its end, restored if need be."""
        if self._process is None or self._process.wait(timeout_s) != 0:
            self.start()
        assert self._process is not None
        assert self._process.wait(timeout_s) == 0

    def wait_for_death(self, timeout_s: float = 60) -> None:
        """Waits until the driver is dead, by a failpoint of its own."""
        assert self._process is not None
        assert self._process.wait(timeout_s) == -signal.SIGKILL
        self.kills += 1

    def kill_driver(self) -> None:
        """Kills the driver alone; what it had started has to see to its own end."""
        self._kill([self._driver()])

    def kill_worker(self) -> None:
        """Kills the worker that began last."""
        self._kill(self._workers()[-1:])

    def kill_driver_and_workers(self) -> None:
        """Kills both, the driver first."""
        self._kill([self._driver(), *self._workers()])

    def kill_recorder(self) -> None:
        """Kills the process that writes the files."""
        self._kill(_children_running(RECORDER, self._driver()))

    def kill_group(self) -> None:
        """Kills the process group, as a terminal or a batch system does."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self.kills += 1

    def _driver(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _workers(self) -> list[int]:
        return [int(line[2]) for line in self.ledger() if line[0] == "started"]

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.kills += 1

    def verdict(self) -> Verdict:
        """Compares the ledger with what the experiment's folder holds."""
        lines = self.ledger()
        results = {result.metrics["trial_id"]: result for result in self._results()}
        reported = {(line[1], int(line[2])) for line in lines if line[0] == "reported"}
        verdict = Verdict(kills=self.kills, acknowledged=len(reported))
        rows = {trial: [row["n"] for row in result.history()] for trial, result in results.items()}
        for trial, n in sorted(reported):
            if n not in rows.get(trial, []):
                verdict.lost.append(f"{trial} {n}")
        ended: set[str] = set()
        for line in lines:
            if line[0] == "ended":
                ended.add(line[1])
            elif line[0] == "started" and line[1] in ended:
                verdict.again.append(line[1])
        verdict.finished = len(ended)
        for trial, result in results.items():
            for name, numbers in _numbers_in_files(Path(result.path)).items():
                if numbers != rows[trial] or max(Counter(numbers).values()) > 1:
                    verdict.doubled.append(f"{trial} {name}: {numbers}")
        return verdict

    def _results(self) -> tune.ResultGrid:
        return tune.Tuner.restore(self.path).get_results()


def _numbers_in_files(folder: Path) -> dict[str, list[int]]:
    """The numbers of the results that each logger's file has."""
    with open(folder / "progress.csv") as file:
        rows = [int(row["n"]) for row in csv.DictReader(file)]
    events = EventAccumulator(str(folder)).Reload()
    return {
        "progress.csv": rows,
        "tensorboard": [int(event.value) for event in events.Scalars("ray/tune/n")],
    }


def _children_running(module: str, parent: int) -> list[int]:
    """The processes of a module that a process has started."""
    found = defaultdict(list)
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            command = Path("/proc", entry, "cmdline").read_bytes()
            stat = Path("/proc", entry, "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if module.encode() in command:
            found[int(stat.rpartition(")")[2].split()[1])].append(int(entry))
    return found[parent]


def sleep(seconds: float) -> None:
    """A moment, chosen at random by the test, after which something is killed."""
    time.sleep(seconds)
