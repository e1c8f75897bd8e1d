"""What stands in the place of default loggers that an experiment is not to have."""

from __future__ import annotations

from typing import Any

from tuner.callbacks.logger import LoggerCallback
from tuner.experiment.trial import Trial
from tuner.integrations.tensorboard import TBXLoggerCallback
from tuner.legacy.file_loggers import CSVLogger, JsonLogger, TBXLogger
from tuner.legacy.trial_logger import Logger
from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.json import JsonLoggerCallback


class _Silent(LoggerCallback):
    """In front of a default logger's class: what stands in its place and writes nothing."""

    def log_trial_start(self, trial: Trial) -> None:
        """Does nothing."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Does nothing."""

    def log_trial_change(self, trial: Trial) -> None:
        """Does nothing."""

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Does nothing."""

    def on_trial_rewound(self, trial: Trial, num_results: int) -> None:
        """Does nothing."""


class _SilentJson(_Silent, JsonLoggerCallback):
    pass


class _SilentCSV(_Silent, CSVLoggerCallback):
    pass


class _SilentTBX(_Silent, TBXLoggerCallback):
    pass


SILENT: dict[type[Logger], type[LoggerCallback]] = {
    JsonLogger: _SilentJson,
    CSVLogger: _SilentCSV,
    TBXLogger: _SilentTBX,
}
"""The stand-ins by the logger that they keep from writing its files."""
