"""The status on a terminal, redrawn in place with rich; nothing runs in a thread of its own."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO, cast

from tuner.console.columns import Column, ColumnChooser, fit
from tuner.console.memory import memory_line
from tuner.console.output import Output
from tuner.console.plain_lines import final_rows
from tuner.console.rows import Rows, pick_errors, pick_rows
from tuner.console.status import ExperimentInfo, ExperimentStatus
from tuner.console.summary import (
    best_line,
    best_values,
    finished,
    resources_text,
    scheduler_name,
    time_left,
)
from tuner.console.text import clean, format_seconds, shorten
from tuner.console.text_table import error_lines, left_out
from tuner.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.text import Text

_REFRESH_S = 0.5
_TEXT_S = 0.1
_SHARE = 0.02  # of the time, at most, is spent on drawing
_MAX_TEXT = 64 * 1024
_MAX_ROWS = 20
_GAP = 2
_BAR_WIDTH = 30
_STYLES = {
    RUNNING: "green",
    PENDING: "bright_black",
    PAUSED: "yellow",
    TERMINATED: "cyan",
    ERROR: "bold red",
}


class LiveTable:
    """Redraws the status twice a second; lines of text scroll by above it.

    rich is imported at the first refresh, so that a short experiment does not wait for it.

    Args:
        output: The terminal.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._info: ExperimentInfo | None = None
        self._columns = ColumnChooser()
        self._live: Live | None = None
        self._due = 0.0
        self._text: list[str] = []
        self._text_length = 0
        self._text_due = 0.0
        self._is_closed = False

    def start(self, info: ExperimentInfo) -> None:
        """Takes in what does not change."""
        self._info = info
        self._columns = ColumnChooser(metric=info.metric, digits=4)
        self._due = time.monotonic() + _REFRESH_S

    def due(self) -> float:
        """Monotonic time of the next redrawing, or of showing the lines that wait."""
        return min(self._due, self._text_due) if self._text else self._due

    def refresh(self, status: ExperimentStatus) -> None:
        """Redraws; if only lines of text are due, they are shown above what stands."""
        begin = time.monotonic()
        if begin < self._due and self._text:
            self._write_text()
            return
        if self._info is not None:
            width, height = self._output.size()
            live = self._live or self._start_live()
            live.console.size = (width, height)
            self._write_text()
            live.update(self._render(self._info, status, width, height), refresh=True)
        end = time.monotonic()
        self._due = end + max(_REFRESH_S, (end - begin) / _SHARE)

    def notice(self) -> None:
        """Nothing is shown before the next redrawing is due."""

    def write(self, text: str) -> None:
        """Keeps lines of text until they are due, 0.1 s later; after `close` nothing waits."""
        if not self._text:
            self._text_due = time.monotonic() + _TEXT_S
        self._text.append(text)
        self._text_length += len(text)
        if self._text_length > _MAX_TEXT or self._is_closed:
            self._write_text()

    def finish(self, status: ExperimentStatus) -> None:
        """Replaces the live status by the final one."""
        self._write_text()
        if self._info is None:
            return
        live = self._live or self._start_live()
        live.console.size = (width, _) = self._output.size()
        self.close()
        live.console.print(self._render_end(self._info, status, width), crop=False)

    def close(self) -> None:
        """Shows the lines that wait, takes the status away and gives back `sys.stdout`."""
        self._is_closed = True
        self._write_text()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _start_live(self) -> Live:
        from rich.console import Console
        from rich.live import Live

        console = Console(
            file=cast(TextIO, self._output), markup=False, highlight=False, emoji=False
        )
        # What the driver prints itself goes above the table, if it would go to this terminal.
        is_main = threading.current_thread() is threading.main_thread()
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            vertical_overflow="crop",
            redirect_stdout=is_main and sys.stdout is self._output.stream,
            redirect_stderr=is_main and sys.stderr is not None and sys.stderr.isatty(),
        )
        self._live.start()
        console.show_cursor(True)  # a process that is killed must not leave it hidden
        return self._live

    def _write_text(self) -> None:
        if not self._text:
            return
        text = "".join(self._text)
        self._text.clear()
        self._text_length = 0
        if self._live is None:
            self._output.write(text)
            self._output.flush()
        else:
            self._live.console.print(_Raw(text), crop=False)

    def _render(
        self, info: ExperimentInfo, status: ExperimentStatus, width: int, height: int
    ) -> Text:
        text = _head(info, status, width)
        room = height - text.plain.count("\n") - 6  # titles, rule, two notes, a blank line, cursor
        rows = pick_rows(status.trials, status.counts, max(min(room, _MAX_ROWS), 1), status.running)
        self._append_table(text, rows, status.best, width)
        text.rstrip()
        return text

    def _render_end(self, info: ExperimentInfo, status: ExperimentStatus, width: int) -> Text:
        text = _head(info, status, width, is_final=True)
        self._append_table(text, final_rows(info, status), status.best, width)
        if status.best is not None:
            text.append(f"\nBest trial: {best_line(status.best, info.metric)}\n", style="bold")
        if status.counts.get(ERROR):
            failed = pick_errors(status.trials, _MAX_ROWS)
            lines = error_lines(failed, status.counts[ERROR], width)
            text.append("\n" + "\n".join(lines) + "\n", style="red")
        text.rstrip()
        return text

    def _append_table(self, text: Text, rows: Rows, best: Trial | None, width: int) -> None:
        if not rows.trials:
            return
        columns = self._columns.columns(rows.trials)
        kept = fit(columns, width, _GAP)
        head, *body = zip(*map(Column.lines, kept), strict=True)
        text.append("\n")
        text.append((" " * _GAP).join(head) + "\n", style="bold")
        text.append("─" * min(sum(c.width + _GAP for c in kept) - _GAP, width) + "\n", style="dim")
        for trial, cells in zip(rows.trials, body, strict=True):
            row_style = "bold" if trial is best else ""
            for place, cell in enumerate(cells):
                is_status = place == 1
                text.append(cell, style=_STYLES[trial.status] if is_status else row_style)
                text.append("\n" if place == len(cells) - 1 else " " * _GAP)
        for note in (rows.more, left_out(columns, kept)):
            if note:
                text.append(shorten(note, width) + "\n", style="dim")


class _Raw:
    """Text that rich hands on as it is: no wrapping, no markup, escape sequences kept."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        yield Segment(self._text)


def _head(
    info: ExperimentInfo, status: ExperimentStatus, width: int, *, is_final: bool = False
) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ignore" if is_final else "crop")
    text.append(shorten(clean(info.name), max(width // 3, 10)), style="bold")
    number = finished(status.counts)
    if status.total_trials:
        bar = min(max(width - 60, 5), _BAR_WIDTH)
        filled = min(round(bar * number / status.total_trials), bar)
        text.append("  ")
        text.append("━" * filled, style="green")
        text.append("━" * (bar - filled), style="bright_black")
        text.append(f"  {number}/{status.total_trials}")
    else:
        text.append(f"  {number} finished")
    text.append(f"  {format_seconds(status.elapsed_s)}", style="dim")
    left = time_left(info, status)
    if left:
        text.append(f", about {format_seconds(left)} left", style="dim")
    text.append("\n")
    facts = _facts(info, status)
    if status.best is not None and not is_final:
        facts.append(("Best trial", best_values(status.best, info.metric), "bold"))
    for title, content, style in facts:
        text.append(f"{title:<11}", style="dim")
        text.append(shorten(content, width - 11) + "\n", style=style)
    return text


def _facts(info: ExperimentInfo, status: ExperimentStatus) -> list[tuple[str, str, str]]:
    numbers = [f"{status.counts[s]} {s}" for s in _STYLES if status.counts.get(s)]
    memory = memory_line().partition(": ")[2]
    scheduler = clean(status.scheduler_debug.partition("\n")[0])
    facts = [
        ("Trials", ", ".join(numbers) or "none yet", ""),
        ("Resources", resources_text(status), ""),
        ("Memory", memory, ""),
        ("Scheduler", scheduler or f"{scheduler_name(info)}, {clean(info.searcher_name)}", ""),
        ("Results", _short_path(info.path), ""),
    ]
    return [fact for fact in facts if fact[1]]


def _short_path(path: str) -> str:
    home = os.path.expanduser("~")
    inside = path.startswith(home + os.sep)
    return clean(f"~{path[len(home) :]}" if inside else path)
