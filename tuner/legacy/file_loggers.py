"""The loggers that write files of their own, as objects for one trial."""

from __future__ import annotations

from typing import Any, ClassVar

from tuner.callbacks.logger import LoggerCallback
from tuner.experiment.trial import Trial
from tuner.integrations.tensorboard import TBXLoggerCallback
from tuner.legacy.trial_logger import Logger
from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.json import JsonLoggerCallback


class _FileLogger(Logger):
    """One of the loggers that write files of their own, as an object for one trial."""

    callback_class: ClassVar[type[LoggerCallback]]

    def _init(self) -> None:
        self._callback = self.callback_class()
        self._trial = self.trial or Trial(
            trial_id="default", config=self.config, trainable_name="", path=self.logdir
        )

    def on_result(self, result: dict[str, Any]) -> None:
        self._callback.on_trial_result(0, [self._trial], self._trial, result)

    def update_config(self, config: dict[str, Any]) -> None:
        self.config = self._trial.config = config
        self._callback.on_trial_change(0, [self._trial], self._trial)

    def flush(self) -> None:
        self._callback.flush()

    def close(self) -> None:
        self._callback.on_trial_complete(0, [self._trial], self._trial)
        self._callback.close()


class JsonLogger(_FileLogger):
    """Writes `params.json`, `params.pkl` and `result.json`."""

    callback_class = JsonLoggerCallback


class CSVLogger(_FileLogger):
    """Writes `progress.csv`."""

    callback_class = CSVLoggerCallback


class TBXLogger(_FileLogger):
    """Writes files for TensorBoard."""

    callback_class = TBXLoggerCallback


TFLogger = TF2Logger = TBXLogger
"""The names that it had when TensorFlow wrote the files."""

DEFAULT_LOGGERS: tuple[type[Logger], ...] = (JsonLogger, CSVLogger, TBXLogger)
"""The loggers of an experiment that is not told otherwise."""
