"""What a person sees while an experiment runs; driven by the controller, without a thread."""

from __future__ import annotations

import os
import sys
from collections import Counter
from numbers import Real
from typing import Any, TextIO

from tuner.console.columns import shorten_name
from tuner.console.display import Display, NoDisplay
from tuner.console.output import Output
from tuner.console.progress_reporter import ProgressReporter
from tuner.console.status import ExperimentInfo, ExperimentStatus
from tuner.console.text import clean, format_seconds, format_value, shorten
from tuner.console.trial_output import TrialOutput
from tuner.errors import ConfigError
from tuner.experiment.trial import ERROR, TERMINATED, Trial
from tuner.flatten import lookup
from tuner.result_fields import AUTOFILLED

SILENT, STATUS, TRIAL_ENDS, RESULTS = range(4)

_SAME_ERROR_LINES = 20
_ERROR_LENGTH = 300
_METRICS_PER_LINE = 8


class Console:
    """Shows an experiment: its status, what trials print, errors, and more if asked for.

    The controller calls `start`, then `refresh` whenever `due()` has passed, the others as things
    happen, and `finish` or, after an error, `close`. All in one thread.

    Args:
        verbose: 0 shows nothing at all, 1 status, errors and what trials print, 2 also a line at
            each trial's end, 3 also a line per result.
        reporter: What shows the status. Without it a live table on a terminal, an HTML table
            in a notebook, and a line from time to time elsewhere (also where `CI` is set).
        stream: Where to write, `sys.stdout` at the time of `start` by default.
        live: False writes lines also on a terminal, for when a trial may need the terminal
            itself, such as for a debugger.

    Raises:
        ConfigError: `verbose` or `reporter` cannot work.
    """

    def __init__(
        self,
        verbose: int = STATUS,
        reporter: ProgressReporter | None = None,
        stream: TextIO | None = None,
        *,
        live: bool = True,
    ) -> None:
        if verbose not in (SILENT, STATUS, TRIAL_ENDS, RESULTS):
            raise ConfigError(f"verbose={verbose!r} must be 0, 1, 2 or 3")
        _check_reporter(reporter)
        self.wants_results = verbose >= RESULTS
        self._verbose = verbose
        self._reporter = reporter
        self._stream = stream
        self._live = live
        self._metric: str | None = None
        self._early: list[str] | None = []  # messages from before start(), None after it
        self._error_counts: Counter[str] = Counter()
        self._tracebacks: set[str] = set()
        self._output = Output(None)
        self._display: Display = NoDisplay()
        self._trial_output = TrialOutput(self._prefix)

    def start(self, info: ExperimentInfo) -> None:
        """Begins to show an experiment."""
        if self._verbose == SILENT:
            return
        self._metric = info.metric
        self._output = Output(sys.stdout if self._stream is None else self._stream)
        self._display = self._choose_display()
        self._trial_output = TrialOutput(self._prefix, keep_colours=self._output.colours)
        self._display.start(info)
        early, self._early = self._early or [], None
        for text in early:
            self.message(text)

    def due(self) -> float:
        """Monotonic time (`time.monotonic`) of the next wanted refresh; `math.inf` if none."""
        return self._display.due()

    def refresh(self, status: ExperimentStatus) -> None:
        """Shows the status."""
        self._display.refresh(status)

    def trial_output(self, trial: Trial, data: bytes) -> None:
        """Shows what a trial printed, in any pieces."""
        if self._verbose == SILENT:
            return
        text = self._trial_output.feed(trial.trial_id, str(trial), data)
        if text:
            self._display.write(text)

    def on_result(self, trial: Trial, result: dict[str, Any]) -> None:
        """A trial reported; costs nothing worth saving unless `wants_results`."""
        if self.wants_results:
            iteration = format_value(result.get("training_iteration"))
            metrics = self._metrics(result)
            self.message(f"{shorten_name(trial)} result {iteration}{metrics}")

    def on_trial_end(self, trial: Trial) -> None:
        """A trial ended without an error, or paused."""
        self._flush(trial)
        self._display.notice()
        if self._verbose >= TRIAL_ENDS and trial.status != ERROR:
            result = trial.last_result
            did = "finished" if trial.status == TERMINATED else f"is {trial.status}"
            iterations = format_value(result.get("training_iteration", 0))
            seconds = format_seconds(float(result.get("time_total_s", 0.0)))
            text = f"{shorten_name(trial)} {did} after {iterations} iterations in {seconds}"
            self.message(text + self._metrics(result))

    def on_trial_error(self, trial: Trial) -> None:
        """A trial failed, for good or to be tried again."""
        self._flush(trial)
        self._display.notice()
        reason = error_reason(trial.error or "")
        self._error_counts[reason] += 1
        number = self._error_counts[reason]
        if number > _SAME_ERROR_LINES or self._verbose == SILENT:
            return
        again = "" if trial.status == ERROR else " and will be tried again"
        place = f" (see {clean(trial.error_file)})" if trial.error_file else ""
        self._write_error(f"{shorten_name(trial)} failed{again}: {reason}{place}")
        self._write_traceback(trial.error or "")
        if number == _SAME_ERROR_LINES:
            self._write_error("More trials that fail like this are counted, but no longer shown.")

    def message(self, text: str) -> None:
        """Shows a text of one or more lines; one from before `start` is shown then."""
        if self._verbose == SILENT:
            return
        if self._early is not None:
            self._early.append(text)
            return
        self._display.write(text.rstrip("\n") + "\n")

    def finish(self, status: ExperimentStatus) -> None:
        """Shows the final status."""
        self._write_rest()
        self._display.finish(status)
        self._display.close()

    def close(self) -> None:
        """Gives the terminal back without a final status; may be called more than once."""
        self._write_rest()
        self._display.close()

    def _choose_display(self) -> Display:
        from tuner.console.reporter_display import ReporterDisplay

        if self._reporter is not None:
            return ReporterDisplay(self._reporter, self._output)
        if self._stream is None and _is_notebook():
            from tuner.console.notebook_reporter import JupyterNotebookReporter

            reporter = JupyterNotebookReporter(overwrite=False, max_report_frequency=1)
            return ReporterDisplay(reporter, self._output)
        if self._live and self._output.isatty() and not _is_unattended():
            from tuner.console.live_table import LiveTable

            return LiveTable(self._output)
        from tuner.console.plain_lines import PlainLines

        return PlainLines(self._output)

    def _prefix(self, trial_name: str) -> str:
        return self._output.paint(f"({trial_name})", "36") + " "

    def _metrics(self, result: dict[str, Any]) -> str:
        names = [name for name in result if name not in AUTOFILLED and name != self._metric]
        numbers = [name for name in names if isinstance(result[name], Real)][:_METRICS_PER_LINE]
        shown = [self._metric, *numbers] if self._metric else numbers
        values = ((name, lookup(result, name)) for name in shown)
        text = ", ".join(f"{clean(n)}={format_value(v)}" for n, v in values if v is not None)
        return f": {text}" if text else ""

    def _flush(self, trial: Trial) -> None:
        text = self._trial_output.flush(trial.trial_id)
        if text:
            self._display.write(text)

    def _write_rest(self) -> None:
        text = self._trial_output.flush_all()
        if text:
            self._display.write(text)

    def _write_traceback(self, traceback: str) -> None:
        """Shows a traceback, unless it is one that was shown already or a single line."""
        lines = [clean(line) for line in traceback.splitlines()]
        if len(lines) > 1 and traceback not in self._tracebacks:
            self._tracebacks.add(traceback)
            self._write_error("\n".join(f"  {line}" for line in lines))

    def _write_error(self, text: str) -> None:
        self.message(self._output.paint(text, "31"))


def error_reason(traceback: str) -> str:
    """The line of a traceback that names the exception.

    Example:
        >>> error_reason('Traceback:\\n  File "x.py", line 1\\n    f()\\nValueError: no\\nmore')
        'ValueError: no'
    """
    lines = [line for line in traceback.splitlines() if any(map(str.isalnum, line))]
    frames = [i for i, line in enumerate(lines) if line.startswith('  File "')]
    after = [line for line in lines[frames[-1] :] if not line[0].isspace()] if frames else []
    reason = [*after[:1], *lines[-1:], "no reason was given"][0]
    return shorten(clean(reason), _ERROR_LENGTH)


def _check_reporter(reporter: object) -> None:
    if reporter is None or isinstance(reporter, ProgressReporter):
        return
    given = shorten(clean(repr(reporter)), 80)
    raise ConfigError(f"progress_reporter={given} must be a ProgressReporter object")


def _is_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from tuner.console.notebook_reporter import in_notebook

    return in_notebook()


def _is_unattended() -> bool:
    ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return ci or os.environ.get("TERM") == "dumb"
