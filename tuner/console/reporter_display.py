"""A progress reporter, ours or the user's, as the console's display."""

from __future__ import annotations

import contextlib
import sys
import time

from tuner.console.output import Output
from tuner.console.progress_reporter import ProgressReporter
from tuner.console.status import ExperimentInfo, ExperimentStatus
from tuner.console.summary import system_lines

_POLL_S = 0.5
_AFTER_NOTICE_S = 0.1


class ReporterDisplay:
    """Asks a reporter twice a second, and 0.1 s after a trial ended, whether it wants to report.

    Args:
        reporter: What shows the progress.
        output: Where lines of text go, and also what the reporter prints.
    """

    def __init__(self, reporter: ProgressReporter, output: Output) -> None:
        self._reporter = reporter
        self._output = output
        self._info: ExperimentInfo | None = None
        self._due = 0.0

    def start(self, info: ExperimentInfo) -> None:
        """Sets the reporter up."""
        self._info = info
        self._due = time.monotonic() + _POLL_S
        self._reporter.setup(
            start_time=info.start_time,
            total_samples=info.total_trials,
            metric=info.metric,
            mode=info.mode,
        )

    def due(self) -> float:
        """Monotonic time at which the reporter is asked next."""
        return self._due

    def refresh(self, status: ExperimentStatus) -> None:
        """Asks the reporter."""
        self._report(status, done=False)
        self._due = time.monotonic() + _POLL_S

    def notice(self) -> None:
        """Asks the reporter soon."""
        self._due = min(self._due, time.monotonic() + _AFTER_NOTICE_S)

    def write(self, text: str) -> None:
        """Prints whole lines."""
        self._output.write(text)
        self._output.flush()

    def finish(self, status: ExperimentStatus) -> None:
        """Asks the reporter for the last time."""
        self._report(status, done=True)

    def close(self) -> None:
        """Nothing to do."""

    def _report(self, status: ExperimentStatus, *, done: bool) -> None:
        if self._info is None:
            return
        trials = list(status.trials)
        with self._printing_to_output():
            if self._reporter.should_report(trials, done=done):
                self._reporter.report(trials, done, *system_lines(self._info, status))

    def _printing_to_output(self) -> contextlib.AbstractContextManager[object]:
        stream = self._output.stream
        if stream is None or stream is sys.stdout:
            return contextlib.nullcontext()
        return contextlib.redirect_stdout(stream)
