"""`loggers=…`: the `Logger` interface, whose objects write down one trial each."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from tuner.callbacks.logger import LoggerCallback
from tuner.experiment.trial import Trial
from tuner.integrations.tensorboard import TBXLoggerCallback
from tuner.legacy.deprecation import warn_once
from tuner.recording.csv import CSVLoggerCallback
from tuner.recording.json import JsonLoggerCallback
from tuner.validation import reject


class Logger:
    """Writes down the results of one trial, in the process of the controller.

    Subclasses implement `on_result`, and the others as they need them.

    Args:
        config: The trial's configuration.
        logdir: The trial's folder.
        trial: The trial.

    Example:
        >>> class PrintLogger(Logger):
        ...     def on_result(self, result):
        ...         print(self.logdir, result["loss"])
        >>> PrintLogger({}, "/results/a").on_result({"loss": 0.5})
        /results/a 0.5
    """

    def __init__(self, config: dict[str, Any], logdir: str, trial: Trial | None = None) -> None:
        self.config = config
        self.logdir = logdir
        self.trial = trial
        self._init()

    def _init(self) -> None:
        """Called once, before anything else."""

    def on_result(self, result: dict[str, Any]) -> None:
        """Called for each result."""
        raise NotImplementedError(f"{type(self).__name__}.on_result() is missing")

    def update_config(self, config: dict[str, Any]) -> None:
        """Called when a scheduler has changed the trial's configuration."""

    def flush(self) -> None:
        """Makes all that was logged visible to readers; called at checkpoints and at the end."""

    def close(self) -> None:
        """Gives back what is held open; called once, also when the experiment fails."""


class NoopLogger(Logger):
    """Writes nothing."""

    def on_result(self, result: dict[str, Any]) -> None:
        """Does nothing."""


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


_SILENT: dict[type[Logger], type[LoggerCallback]] = {
    JsonLogger: _SilentJson,
    CSVLogger: _SilentCSV,
    TBXLogger: _SilentTBX,
}


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
        kind.callback_class() if kind in loggers else _SILENT[kind]()
        for kind in (JsonLogger, CSVLogger, TBXLogger)
    ]
    own = [kind for kind in loggers if kind not in _SILENT]
    return [*defaults, LoggersCallback(own)] if own else defaults


def _made(kind: type[Logger], config: dict[str, Any], logdir: str, trial: Trial | None) -> Logger:
    """A logger; the oldest ones do not take the trial."""
    if "trial" in inspect.signature(kind).parameters:
        return kind(config, logdir, trial=trial)
    return kind(config, logdir)


def _finish(loggers: UnifiedLogger) -> None:
    with contextlib.ExitStack() as last:
        last.callback(loggers.close)
        loggers.flush()
