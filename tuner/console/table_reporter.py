"""What the command-line and the notebook reporter have in common: options and content."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.console.columns import ColumnChooser, titles
from tuner.console.output import Output
from tuner.console.progress_reporter import ProgressReporter
from tuner.console.rows import (
    Rows,
    count,
    pick_best_rows,
    pick_errors,
    pick_rows,
)
from tuner.console.summary import best_line, number_line
from tuner.console.text import clean
from tuner.console.text_table import error_lines, text_table
from tuner.errors import ConfigError
from tuner.experiment.best import find_best
from tuner.experiment.trial import ERROR, Trial

ColumnNames = list[str] | dict[str, str] | None
"""Names of columns, or names with the titles to show for them."""


@dataclass(frozen=True, slots=True)
class Content:
    """What one report says.

    Attributes:
        lines: About the whole experiment.
        rows: The trials of the table, None if it is left out.
        failed: The trials of the error table.
        num_failed: How many failed in all.
    """

    lines: list[str]
    rows: Rows | None
    failed: list[Trial]
    num_failed: int


class TableReporter(ProgressReporter):
    """Base of the reporters that show a table of trials."""

    def __init__(
        self,
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
        if mode not in (None, "min", "max"):
            raise ConfigError(f"mode={mode!r} must be 'min' or 'max'")
        if metric and not mode:
            raise ConfigError(f"metric={metric!r} needs a mode: 'min' or 'max'")
        limits: Mapping[str, Any] = {
            "max_progress_rows": max_progress_rows,
            "max_error_rows": max_error_rows,
            "max_column_length": max_column_length,
            "max_report_frequency": max_report_frequency,
            "infer_limit": infer_limit,
        }
        for field, value in limits.items():
            if not isinstance(value, int | float) or value < 0:
                raise ConfigError(f"{field}={value!r} must be a number, 0 or more")
        self._total_samples = total_samples
        self._metric = metric
        self._mode = mode
        self._has_own_metric = metric is not None
        self._max_progress_rows = max_progress_rows
        self._max_error_rows = max_error_rows
        self._max_report_frequency = max_report_frequency
        self._print_intermediate_tables = print_intermediate_tables
        self._sort_by_metric = sort_by_metric
        self._last_report: float | None = None
        self._columns = ColumnChooser(
            metrics=titles("metric_columns", metric_columns),
            parameters=titles("parameter_columns", parameter_columns),
            metric=metric,
            infer_limit=infer_limit,
            max_length=max(max_column_length, 2),
        )

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Called once when `fit()` begins; a reporter may serve one experiment after another."""
        self._columns.forget()
        self._last_report = None
        super().setup(start_time, total_samples, metric, mode, **kwargs)

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        """Tells metric and mode; False if the reporter has its own, which stay."""
        if self._has_own_metric:
            return not metric
        self._columns.metric = metric
        return super().set_search_properties(metric, mode)

    def add_metric_column(self, metric: str, representation: str | None = None) -> None:
        """Shows one more metric.

        Args:
            metric: Its name in the results.
            representation: The column's title; the name, without it.

        Raises:
            ConfigError: the metric was added or given before.
        """
        self._columns.add_metric(metric, representation or metric)

    def add_parameter_column(self, parameter: str, representation: str | None = None) -> None:
        """Shows this parameter, and no longer all if none was named before.

        Args:
            parameter: Its name in the configuration, a path such as `optimizer/lr` if nested.
            representation: The column's title; the name, without it.

        Raises:
            ConfigError: the parameter was added or given before.
        """
        self._columns.add_parameter(parameter, representation or parameter)

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Whether `max_report_frequency` seconds have passed since it last agreed, or `done`."""
        now = time.monotonic()
        last = self._last_report
        if not done and last is not None and now - last < self._max_report_frequency:
            return False
        self._last_report = now
        return True

    def content(self, trials: list[Trial], done: bool, sys_info: tuple[str, ...]) -> Content:
        """What to say now."""
        counts = count(trials)
        lines = [self._time_line()]
        lines += [line for info in sys_info for line in info.splitlines()]
        best = self._current_best_trial(trials)
        if best is not None:
            text = best_line(best, self._metric, self._columns.parameters)
            lines.append(f"Current best trial: {text}")
        if trials:
            lines.append(f"Result logdir: {clean(trials[0].experiment_path)}")
        lines.append(number_line(counts, self._total_samples))
        return Content(
            lines=lines,
            rows=self._rows(trials, counts, done),
            failed=pick_errors(trials, self._max_error_rows) if counts[ERROR] else [],
            num_failed=counts[ERROR],
        )

    def _progress_str(self, trials: list[Trial], done: bool, *sys_info: str) -> str:
        content = self.content(trials, done, sys_info)
        width = Output(sys.stdout).width()
        lines = ["== Status ==", *content.lines]
        if content.rows is not None:
            lines += text_table(self._columns.columns(content.rows.trials), width)
            lines += [content.rows.more] if content.rows.more else []
        if content.failed:
            lines += error_lines(content.failed, content.num_failed, width)
        return "\n".join(lines) + "\n"

    def _current_best_trial(self, trials: list[Trial]) -> Trial | None:
        if not self._metric or not self._mode:
            return None
        return find_best(trials, self._metric, self._mode)

    def _rows(self, trials: list[Trial], counts: Mapping[str, int], done: bool) -> Rows | None:
        limit = self._max_progress_rows
        if not trials or not limit or (not done and self._print_intermediate_tables is False):
            return None
        if not done and not self._sort_by_metric:
            return pick_rows(trials, counts, limit)
        return pick_best_rows(
            trials, counts, limit, self._metric, self._mode, running_first=not done
        )

    def _time_line(self) -> str:
        now = time.time()
        seconds = round(now - (now if self._start_time is None else self._start_time))
        running = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        return f"Current time: {stamp} (running for {running})"
