"""Callbacks, loggers and reporters; names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.callbacks.callback import Callback
    from tuner.callbacks.logger import LoggerCallback
    from tuner.console.cli_reporter import CLIReporter
    from tuner.console.notebook_reporter import JupyterNotebookReporter
    from tuner.console.progress_reporter import ProgressReporter
    from tuner.integrations.tensorboard import TBXLoggerCallback
    from tuner.recording.csv import CSVLoggerCallback
    from tuner.recording.json import JsonLoggerCallback

_HOMES = {
    "CLIReporter": "tuner.console.cli_reporter",
    "CSVLoggerCallback": "tuner.recording.csv",
    "Callback": "tuner.callbacks.callback",
    "JsonLoggerCallback": "tuner.recording.json",
    "JupyterNotebookReporter": "tuner.console.notebook_reporter",
    "LoggerCallback": "tuner.callbacks.logger",
    "ProgressReporter": "tuner.console.progress_reporter",
    "TBXLoggerCallback": "tuner.integrations.tensorboard",
}

__all__ = [
    "CLIReporter",
    "CSVLoggerCallback",
    "Callback",
    "JsonLoggerCallback",
    "JupyterNotebookReporter",
    "LoggerCallback",
    "ProgressReporter",
    "TBXLoggerCallback",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tuner.callbacks' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
