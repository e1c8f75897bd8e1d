"""An experiment to show, and a terminal small enough to look into."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from typing import Any, TextIO

from tuner.console.status import ExperimentInfo, ExperimentStatus
from tuner.experiment.events import Fact, TrialCreated, TrialEnded, TrialLaunched, TrialResult
from tuner.experiment.trial import RUNNING, Trial
from tuner.experiment.trial_table import TrialTable

TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 3, in train
    raise ValueError("rate [bold]too[/bold] high")
ValueError: rate [bold]too[/bold] high
"""


class Experiment:
    """Trials that go through their life by the facts of a journal."""

    def __init__(self, path: str = "/results/mnist") -> None:
        self.table = TrialTable(path)
        self.best: Trial | None = None

    def apply(self, fact: Fact) -> Trial:
        trial = self.table.apply(fact)
        assert trial is not None
        return trial

    def create(self, params: dict[str, Any] | None = None, name: str = "") -> Trial:
        number = len(self.table.trials)
        params = {"lr": 0.1 * (number + 1)} if params is None else params
        trial_id = f"abc_{number:05d}"
        fact = TrialCreated(
            time=100.0,
            trial_id=trial_id,
            number=number,
            trainable_name="train",
            trial_name=name,
            experiment_tag=f"{number}_x",
            dirname=f"train_{trial_id}",
            config=dict(params),
            evaluated_params=params,
            bundles=[{"CPU": 1}],
        )
        return self.apply(fact)

    def launch(self, trial: Trial) -> Trial:
        return self.apply(TrialLaunched(101.0, trial.trial_id, trial.attempt + 1, None, 0))

    def report(self, trial: Trial, **metrics: Any) -> Trial:
        iteration = trial.last_result.get("training_iteration", 0) + 1
        result = {
            **metrics,
            "training_iteration": iteration,
            "time_total_s": 1.5 * iteration,
            "pid": 4000 + trial.number,
            "node_ip": "10.0.0.7",
            "hostname": "box",
            "done": False,
            "trial_id": trial.trial_id,
        }
        return self.apply(
            TrialResult(102.0, trial.trial_id, trial.attempt, "CONTINUE", None, result)
        )

    def end(self, trial: Trial, status: str = "TERMINATED", error: str | None = None) -> Trial:
        return self.apply(TrialEnded(103.0, trial.trial_id, trial.attempt, status, error))

    def run(self, *losses: float, status: str = "TERMINATED", error: str | None = None) -> Trial:
        """A trial from its creation to its end."""
        trial = self.launch(self.create())
        for loss in losses:
            self.report(trial, loss=loss)
        return trial if status == RUNNING else self.end(trial, status, error)

    def info(self, **changes: Any) -> ExperimentInfo:
        fields: dict[str, Any] = {
            "name": "mnist",
            "path": self.table.experiment_path,
            "metric": "loss",
            "mode": "min",
            "total_trials": 10,
            "scheduler_name": "FIFOScheduler",
            "searcher_name": "BasicVariantGenerator",
            "start_time": 100.0,
        }
        return ExperimentInfo(**{**fields, **changes})

    def status(self, **changes: Any) -> ExperimentStatus:
        fields: dict[str, Any] = {
            "trials": self.table.trials,
            "total_trials": 10,
            "counts": self.table.counts,
            "used": {"CPU": float(self.table.counts[RUNNING])},
            "total": {"CPU": 4.0},
            "elapsed_s": 20.0,
            "best": self.best,
            "running": self.table.by_status[RUNNING].values(),
        }
        return ExperimentStatus(**{**fields, **changes})


class Terminal:
    """A pseudo terminal; `stream` writes to it, `raw` is what arrived, `screen()` what one sees."""

    def __init__(self, columns: int = 120, rows: int = 40) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.columns = columns
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self._received = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> str:
        """Ends the session and returns everything that was written."""
        self.stream.close()
        self._reader.join()
        os.close(self._master)
        return self._received.decode()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other end was closed
                return
            if not data:
                return
            self._received += data


def screen(raw: str, columns: int) -> list[str]:
    """The lines that a terminal of that width shows, from the first one ever written."""
    lines = [[]]
    row = column = 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b.|[^\x1b]", raw):
        if token == "\n":
            row += 1
            if row == len(lines):
                lines.append([])
        elif token == "\r":
            column = 0
        elif token.startswith("\x1b["):
            if token.endswith("A"):
                row -= int(token[2:-1] or 1)
                assert row >= 0, "the cursor went above the first line"
            elif token.endswith("K"):
                lines[row] = []
        else:
            if column == columns:
                row, column = row + 1, 0
                if row == len(lines):
                    lines.append([])
            line = lines[row]
            line += " " * (column + 1 - len(line))
            line[column] = token
            column += 1
    return ["".join(line).rstrip() for line in lines]
