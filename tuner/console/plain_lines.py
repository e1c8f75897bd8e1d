"""Progress for pipes and build logs: one line from time to time, a table at the end."""

from __future__ import annotations

import time

from tuner.console.columns import ColumnChooser, shorten_name
from tuner.console.output import Output
from tuner.console.rows import Rows, pick_best_rows, pick_errors
from tuner.console.status import ExperimentInfo, ExperimentStatus
from tuner.console.summary import (
    best_line,
    finished,
    number_line,
    resources_text,
    scheduler_name,
    time_left,
)
from tuner.console.text import clean, format_seconds, format_value
from tuner.console.text_table import error_lines, text_table
from tuner.experiment.trial import ERROR, PAUSED, RUNNING
from tuner.flatten import lookup

_FIRST_S = 1.0
_SHORTEST_S = 5.0
_LONGEST_S = 60.0
_MAX_ROWS = 20


class PlainLines:
    """Prints a line every 5 s at first and every minute in the long run.

    Args:
        output: Where to.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._info: ExperimentInfo | None = None
        self._due = 0.0

    def start(self, info: ExperimentInfo) -> None:
        """Says what is about to happen."""
        self._info = info
        self._due = time.monotonic() + _FIRST_S
        number = "" if info.total_trials is None else f"{info.total_trials} trials, "
        self.write(
            f"{clean(info.name)}: {number}{scheduler_name(info)} scheduling algorithm, "
            f"results in {clean(info.path)}\n"
        )

    def due(self) -> float:
        """Monotonic time of the next line."""
        return self._due

    def refresh(self, status: ExperimentStatus) -> None:
        """Prints the line."""
        period = min(max(status.elapsed_s / 20, _SHORTEST_S), _LONGEST_S)
        self._due = time.monotonic() + period
        if self._info is not None:
            self.write(status_line(self._info, status) + "\n")

    def notice(self) -> None:
        """Nothing is shown before the next line is due."""

    def write(self, text: str) -> None:
        """Prints whole lines."""
        self._output.write(text)
        self._output.flush()

    def finish(self, status: ExperimentStatus) -> None:
        """Prints the table, the trials that failed and the best one."""
        if self._info is not None:
            lines = final_lines(self._info, status, self._output.width())
            self.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """Nothing to do."""


def status_line(info: ExperimentInfo, status: ExperimentStatus) -> str:
    """The whole status on one line."""
    counts = status.counts
    of = "" if status.total_trials is None else f"/{status.total_trials}"
    numbers = [f"{finished(counts)}{of} trials finished", f"{counts.get(RUNNING, 0)} running"]
    numbers += [
        f"{counts[state]} {word}"
        for state, word in ((PAUSED, "paused"), (ERROR, "failed"))
        if counts.get(state)
    ]
    left = time_left(info, status)
    elapsed = f"{format_seconds(status.elapsed_s)} elapsed"
    parts = [
        ", ".join(numbers),
        resources_text(status, brief=True),
        elapsed if left is None else f"{elapsed}, about {format_seconds(left)} left",
    ]
    if status.best is not None and info.metric:
        value = format_value(lookup(status.best.last_result, info.metric))
        parts.append(f"best {clean(info.metric)}={value} ({shorten_name(status.best)})")
    stamp = time.strftime("%H:%M:%S")
    return f"[{stamp}] {clean(info.name)}: {' | '.join(part for part in parts if part)}"


def final_lines(info: ExperimentInfo, status: ExperimentStatus, width: int | None) -> list[str]:
    """What is printed when an experiment has ended."""
    rows = final_rows(info, status)
    lines = [
        "",
        f"{clean(info.name)} ended after {format_seconds(status.elapsed_s)}. "
        f"{number_line(status.counts, status.total_trials)}",
    ]
    if rows.trials:
        lines += text_table(ColumnChooser(metric=info.metric).columns(rows.trials), width)
    lines += [rows.more] if rows.more else []
    if status.counts.get(ERROR):
        failed = pick_errors(status.trials, _MAX_ROWS)
        lines += ["", *error_lines(failed, status.counts[ERROR], width)]
    if status.best is not None:
        lines.append(f"Best trial: {best_line(status.best, info.metric)}")
    return [*lines, f"Results: {clean(info.path)}"]


def final_rows(info: ExperimentInfo, status: ExperimentStatus) -> Rows:
    """The best trials."""
    return pick_best_rows(status.trials, status.counts, _MAX_ROWS, info.metric, info.mode)
