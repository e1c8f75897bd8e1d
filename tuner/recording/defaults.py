"""Which loggers run, and where."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tuner.callbacks.callback import Callback
from tuner.callbacks.logger import LoggerCallback

DISABLE_VARIABLE = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"


def split_callbacks(
    callbacks: Sequence[Callback], *, add_defaults: bool = True
) -> tuple[list[Callback], list[LoggerCallback]]:
    """The callbacks for the controller's process and the loggers for the recorder's.

    CSV, JSON and TensorBoard loggers are added with `add_defaults`, unless the user has given their
    own, or has set `TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1`.
    """
    here = [callback for callback in callbacks if not _is_recorded(callback)]
    recorded = [callback for callback in callbacks if isinstance(callback, LoggerCallback)]
    recorded = [logger for logger in recorded if logger.in_recorder]
    if add_defaults and os.environ.get(DISABLE_VARIABLE, "0") != "1":
        given = tuple(type(callback) for callback in callbacks)
        recorded += [kind() for kind in _defaults() if not any(issubclass(g, kind) for g in given)]
    return here, recorded


def _is_recorded(callback: Callback) -> bool:
    return isinstance(callback, LoggerCallback) and callback.in_recorder


def _defaults() -> list[type[LoggerCallback]]:
    from tuner.integrations.tensorboard import TBXLoggerCallback
    from tuner.recording.csv import CSVLoggerCallback
    from tuner.recording.json import JsonLoggerCallback

    return [CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback]
