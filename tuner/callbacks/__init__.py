"""Callbacks, loggers and what a person sees; names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.callbacks.callback import Callback
    from tuner.callbacks.cli_reporter import CLIReporter
    from tuner.callbacks.logger import LoggerCallback
    from tuner.callbacks.notebook_reporter import JupyterNotebookReporter
    from tuner.callbacks.progress import ProgressReporter
    from tuner.integrations.tensorboard import TBXLoggerCallback
    from tuner.recording.csv import CSVLoggerCallback
    from tuner.recording.json import JsonLoggerCallback

_HOMES = {
    "CLIReporter": "tuner.callbacks.cli_reporter",
    "CSVLoggerCallback": "tuner.recording.csv",
    "Callback": "tuner.callbacks.callback",
    "JsonLoggerCallback": "tuner.recording.json",
    "JupyterNotebookReporter": "tuner.callbacks.notebook_reporter",
    "LoggerCallback": "tuner.callbacks.logger",
    "ProgressReporter": "tuner.callbacks.progress",
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
