"""Copies folders by commands of the user now and then, without holding up training."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tuner.callbacks.callback import Callback
from tuner.errors import StorageError
from tuner.execution import machine
from tuner.experiment.trial import Trial
from tuner.filesystems import join
from tuner.legacy.deprecation import warn_once
from tuner.legacy.place import Place
from tuner.legacy.sync_command import SyncCommand
from tuner.validation import check_number

logger = logging.getLogger(__name__)

PERIOD_VARIABLE = "TUNE_GLOBAL_CHECKPOINT_S"
_PERIOD_S = 300.0

_copying = threading.Lock()  # one at a time: two would write to the same target


def copies(owner: str, place: Place, sync_to_driver: Any, period_s: float | None) -> list[Callback]:
    """The callbacks that copy while an experiment runs.

    Args:
        owner: What the user called with them.
        place: Where the experiment lies.
        sync_to_driver: What copies trials' folders from other machines, None or False for nothing.
        period_s: Seconds between two copies; None for `TUNE_GLOBAL_CHECKPOINT_S`, else 300.

    Raises:
        ConfigError: One cannot work.
    """
    if period_s is None:
        period_s = float(os.environ.get(PERIOD_VARIABLE) or _PERIOD_S)
    else:
        warn_once(f"{owner}(global_checkpoint_period=…)", "sync_config=SyncConfig(sync_period=…)")
    check_number(owner, "global_checkpoint_period", period_s, "use seconds > 0")
    callbacks: list[Callback] = []
    if place.upload is not None and place.upload_dir is not None:
        callbacks.append(CopyExperiment(place.upload, place.upload_dir, period_s))
    if sync_to_driver:
        warn_once(f"{owner}(sync_to_driver=…)", "a storage_path that all machines see")
        command = SyncCommand(owner, "sync_to_driver", sync_to_driver)
        callbacks.append(CopyTrials(command, period_s))
    return callbacks


class CopyExperiment(Callback):
    """Copies the experiment's folder every so many seconds.

    The last copy is not made by it: the files are complete only after the experiment has ended.

    Args:
        command: What copies.
        upload_dir: The folder where to.
        period_s: Seconds between two copies.
    """

    def __init__(self, command: SyncCommand, upload_dir: str, period_s: float) -> None:
        self._command = command
        self._upload_dir = upload_dir
        self._period_s = period_s
        self._copy = _BackgroundCopy()
        self._due = -math.inf

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_due": -math.inf}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        now = time.monotonic()
        if self._due == -math.inf:
            self._due = now + self._period_s
        if now < self._due or self._copy.is_busy or not trials:
            return
        self._due = now + self._period_s
        source = trials[0].experiment_path
        target = join(self._upload_dir, os.path.basename(source))
        self._copy.start(partial(self._command, source, target))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self._copy.wait()


class CopyTrials(Callback):
    """Copies the folders of trials that run on other machines to this one.

    Args:
        command: What copies from `address:/folder/` to a local folder.
        period_s: Seconds between two copies of a trial.
    """

    def __init__(self, command: SyncCommand, period_s: float) -> None:
        self._command = command
        self._period_s = period_s
        self._copy = _BackgroundCopy()
        self._due: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_due": {}}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        now = time.monotonic()
        due = self._due.setdefault(trial.trial_id, now + self._period_s)
        if now >= due and self._bring(trial):
            self._due[trial.trial_id] = now + self._period_s

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._bring(trial, is_end=True)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._bring(trial, is_end=True)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._bring(trial, is_end=True)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        self._copy.wait()

    def _bring(self, trial: Trial, *, is_end: bool = False) -> bool:
        """Begins to copy a trial's folder; whether that was possible now."""
        address = trial.last_result.get("node_ip")
        if address in (None, machine.node_ip()):
            return True
        if self._copy.is_busy and not is_end:
            return False
        source, target = f"{address}:{join(trial.path, '')}", trial.path
        self._copy.start(partial(self._command, source, target))
        return True


class _BackgroundCopy:
    """Copies in a thread, one after the other; a failure is a warning."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _BackgroundCopy, ()

    @property
    def is_busy(self) -> bool:
        return self._thread is not None

    def start(self, copy: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(copy)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tuner-copy", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                copy = self._waiting.pop(0)
            try:
                with _copying:
                    copy()
            except StorageError as error:
                logger.warning("%s; training goes on, and it is tried again", error)


def copy_finally(place: Place, path: str) -> None:
    """Makes the last copy of an experiment that has ended; a failure is logged as an error.

    Args:
        place: Where it lies.
        path: Its folder on this machine.
    """
    if place.upload is None:
        return
    target = place.copy_of(os.path.basename(path))
    try:
        with _copying:
            place.upload(path, target)
    except StorageError as error:
        logger.error("the results in %s are not in %s: %s", path, target, error)
