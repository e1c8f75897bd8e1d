"""The status as an HTML table in a notebook's cell, replaced in place."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from html import escape
from typing import Any

from tuner.console.columns import Column, error_columns
from tuner.console.table_reporter import ColumnNames, TableReporter
from tuner.experiment.trial import ERROR, RUNNING, Trial

logger = logging.getLogger(__name__)

_CELL = "padding:2px 8px;white-space:nowrap"
_COLOURS = {RUNNING: "#2e8b57", ERROR: "#d9302c"}


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # Colab and others subclass the kernel's shell.
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


class JupyterNotebookReporter(TableReporter):
    """Shows the status in the cell that runs `fit()`.

    Args:
        overwrite: Whether to clear what the cell has shown before `fit()`.
        metric_columns: As for `CLIReporter`, and so are the others.
        parameter_columns: Names of parameters, or names and titles.
        total_samples: How many trials there will be, if `fit()` cannot know.
        max_progress_rows: Rows of the table at most.
        max_error_rows: Rows of the table of failed trials at most.
        max_column_length: Longest title or value, in characters.
        max_report_frequency: Seconds between two updates at least.
        infer_limit: How many metrics to choose without `metric_columns`.
        print_intermediate_tables: False shows the table only at the end.
        metric: Metric that tells the best trial; the experiment's, without it.
        mode: `"min"` or `"max"`, needed with `metric`.
        sort_by_metric: Whether to show the trials with the best results, best first.

    Raises:
        ConfigError: a value cannot work.

    Example:
        >>> reporter = JupyterNotebookReporter(overwrite=False, max_report_frequency=2)
    """

    def __init__(
        self,
        overwrite: bool = True,
        *,
        metric_columns: ColumnNames = None,
        parameter_columns: ColumnNames = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: int = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        super().__init__(
            metric_columns=metric_columns,
            parameter_columns=parameter_columns,
            total_samples=total_samples,
            max_progress_rows=max_progress_rows,
            max_error_rows=max_error_rows,
            max_column_length=max_column_length,
            max_report_frequency=max_report_frequency,
            infer_limit=infer_limit,
            print_intermediate_tables=print_intermediate_tables,
            metric=metric,
            mode=mode,
            sort_by_metric=sort_by_metric,
        )
        self._overwrite = overwrite
        self._handle: Any = None

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Begins a new display, in the cell that runs now."""
        super().setup(start_time, total_samples, metric, mode, **kwargs)
        self._handle = None
        if in_notebook() and self._overwrite:
            _ipython_display().clear_output(wait=True)
        elif not in_notebook():
            logger.warning("JupyterNotebookReporter prints text here, as this is not a notebook")

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Replaces what is shown; prints it where there is no notebook."""
        if not in_notebook():
            print(self._progress_str(trials, done, *sys_info), flush=True)
            return
        self.display(self._progress_html(trials, done, *sys_info))

    def display(self, string: str) -> None:
        """Shows HTML in place of what was shown before."""
        ipython = _ipython_display()
        html = ipython.HTML(string)
        if self._handle is not None:
            self._handle.update(html)
            return
        self._handle = ipython.display(html, display_id=True)

    def _progress_html(self, trials: list[Trial], done: bool, *sys_info: str) -> str:
        content = self.content(trials, done, sys_info)
        parts = [f"<div>{escape(line)}</div>" for line in content.lines]
        if content.rows is not None:
            columns = self._columns.columns(content.rows.trials)
            parts += _table(columns, [trial.status for trial in content.rows.trials])
            parts.append(f"<div>{escape(content.rows.more)}</div>")
        if content.failed:
            parts.append(f"<div><b>Number of errored trials: {content.num_failed}</b></div>")
            parts += _table(error_columns(content.failed), [ERROR] * len(content.failed))
        return f'<div class="tuner-status">{"".join(parts)}</div>'


def _ipython_display() -> Any:
    return importlib.import_module("IPython.display")


def _table(columns: list[Column], statuses: list[str]) -> Iterator[str]:
    yield '<div style="overflow-x:auto"><table><thead><tr>'
    for column in columns:
        yield f'<th style="{_CELL};text-align:left">{escape(column.header)}</th>'
    yield "</tr></thead><tbody>"
    for row, status in enumerate(statuses):
        yield "<tr>"
        for column in columns:
            colour = _COLOURS.get(status) if column.header == "status" else None
            style = f"{_CELL};text-align:{'right' if column.right else 'left'}"
            style += f";color:{colour}" if colour else ""
            yield f'<td style="{style}">{escape(column.cells[row].strip())}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"
