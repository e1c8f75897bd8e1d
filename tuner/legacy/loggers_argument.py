"""`loggers=…`: which loggers write down the trials of an experiment."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from tuner.callbacks.logger import LoggerCallback
from tuner.experiment.trial import Trial
from tuner.legacy.deprecation import warn_once
from tuner.legacy.file_loggers import CSVLogger, JsonLogger, TBXLogger
from tuner.legacy.silent_loggers import SILENT
from tuner.legacy.trial_logger import Logger
from tuner.legacy.unified_logger import UnifiedLogger
from tuner.validation import reject


def callbacks_for(owner: str, loggers: Sequence[type] | None) -> list[LoggerCallback]:
    """The callbacks that `loggers=…` means.

    The default ones run in the recorder's process as ever; those that are missing are kept from
    writing their files.

    Args:
        owner: What the user called with them.
        loggers: Classes with the `Logger` interface, None for the default ones.

    Raises:
        ConfigError: It holds something else.
    """
    if loggers is None:
        return []
    if not isinstance(loggers, list | tuple):
        reject(owner, "loggers", loggers, "use a tuple of classes: DEFAULT_LOGGERS + (MyLogger,)")
    for each in loggers:
        if not (isinstance(each, type) and hasattr(each, "on_result")):
            fix = f"{each!r:.50} is no class with the Logger interface"
            if isinstance(each, LoggerCallback):
                fix += "; give it in callbacks=[…]"
            reject(owner, "loggers", loggers, fix)
    warn_once(f"{owner}(loggers=…)", "callbacks=[…] with objects of LoggerCallback")
    defaults: list[LoggerCallback] = [
        kind.callback_class() if kind in loggers else SILENT[kind]()
        for kind in (JsonLogger, CSVLogger, TBXLogger)
    ]
    own = [kind for kind in loggers if kind not in SILENT]
    return [*defaults, LoggersCallback(own)] if own else defaults


class LoggersCallback(LoggerCallback):
    """Gives each trial its own objects of logger classes.

    Args:
        kinds: The classes.
    """

    def __init__(self, kinds: Sequence[type[Logger]]) -> None:
        self._kinds = tuple(kinds)
        self._open: dict[str, UnifiedLogger] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Only which: loggers hold files."""
        return {"_kinds": self._kinds, "_open": {}}

    def log_trial_start(self, trial: Trial) -> None:
        loggers = UnifiedLogger(trial.config, trial.path, trial, self._kinds)
        self._open[trial.trial_id] = loggers

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        self._open[trial.trial_id].on_result(result)

    def log_trial_change(self, trial: Trial) -> None:
        self._open[trial.trial_id].update_config(trial.config)

    def log_trial_save(self, trial: Trial) -> None:
        if trial.trial_id in self._open:
            self._open[trial.trial_id].flush()

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        _finish(self._open.pop(trial.trial_id))

    def close(self) -> None:
        with contextlib.ExitStack() as all_of_them:
            while self._open:
                all_of_them.callback(_finish, self._open.popitem()[1])


def _finish(loggers: UnifiedLogger) -> None:
    with contextlib.ExitStack() as last:
        last.callback(loggers.close)
        loggers.flush()
