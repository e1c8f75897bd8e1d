"""`UnifiedLogger`: several loggers of a trial as one."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any

from tuner.experiment.trial import Trial
from tuner.legacy.file_loggers import DEFAULT_LOGGERS
from tuner.legacy.trial_logger import Logger


class UnifiedLogger(Logger):
    """Several loggers as one.

    Args:
        config: The trial's configuration.
        logdir: The trial's folder.
        trial: The trial.
        loggers: Their classes, `DEFAULT_LOGGERS` by default.
    """

    def __init__(
        self,
        config: dict[str, Any],
        logdir: str,
        trial: Trial | None = None,
        loggers: Sequence[type[Logger]] | None = None,
    ) -> None:
        self._kinds = DEFAULT_LOGGERS if loggers is None else loggers
        super().__init__(config, logdir, trial)

    def _init(self) -> None:
        self._loggers = [_made(kind, self.config, self.logdir, self.trial) for kind in self._kinds]

    def on_result(self, result: dict[str, Any]) -> None:
        for each in self._loggers:
            each.on_result(result)

    def update_config(self, config: dict[str, Any]) -> None:
        for each in self._loggers:
            each.update_config(config)

    def flush(self) -> None:
        for each in self._loggers:
            each.flush()

    def close(self) -> None:
        with contextlib.ExitStack() as all_of_them:
            for each in self._loggers:
                all_of_them.callback(each.close)


def _made(kind: type[Logger], config: dict[str, Any], logdir: str, trial: Trial | None) -> Logger:
    """A logger; the oldest ones do not take the trial."""
    if "trial" in inspect.signature(kind).parameters:
        return kind(config, logdir, trial=trial)
    return kind(config, logdir)
