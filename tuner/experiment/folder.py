"""The folder of an experiment on a local filesystem: its lock, and what lies beside the journal."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import logging
import os
import re
import signal
import socket
import time
import weakref
from pathlib import Path
from typing import IO, Any

from tuner.errors import ExperimentLockedError, StorageError
from tuner.fsync import sync_folder
from tuner.layout import (
    DESCRIPTION_FILE,
    JOURNAL_FOLDER,
    RESULTS_FILE,
    SNAPSHOTS_FOLDER,
    TUNER_FILE,
)
from tuner.liveness import is_alive

logger = logging.getLogger(__name__)

FORMAT = 1

RECORDER_LOCK = "recorder.lock"
"""Held by the recorder, in the journal's folder."""

LOCK = ".lock"
_LEFT_TIMEOUT_S = 20.0
_RECORDER_TIMEOUT_S = 20.0
_POLL_S = 0.05

PREVIOUS = "previous"
"""The folder that earlier runs of the same name are moved to."""

OF_ONE_RUN = (DESCRIPTION_FILE, TUNER_FILE, RESULTS_FILE, JOURNAL_FOLDER, SNAPSHOTS_FOLDER)


# Open lock files. A forked child closes its copies, lest it hold the locks when we are dead.
_lock_files: weakref.WeakSet[IO[str]] = weakref.WeakSet()


def _leave_locks_to_parent() -> None:
    for file in _lock_files:
        file.close()


os.register_at_fork(after_in_child=_leave_locks_to_parent)


class ExperimentFolder:
    """The folder that one run writes to, held under a lock.

    Args:
        path: The folder; it is made if it does not exist.

    Raises:
        ExperimentLockedError: another process is writing to it.
        StorageError: it cannot be written to.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        _make(path)
        try:
            self._lock_file: IO[str] = open(os.path.join(path, LOCK), "a+")  # noqa: SIM115
            self._lock()
        except OSError as error:
            raise _unusable(path, "written", error) from error

    def begin(self, tuner: bytes) -> str | None:
        """Makes room for a new run and writes the first part of what a restore needs.

        What an earlier run of the same name left beside its trials is moved away, not deleted.

        Args:
            tuner: The pickled trainable, space and configs.

        Returns:
            The folder to which an earlier run was moved, None if there was none.

        Raises:
            StorageError: It cannot be written to.
        """
        try:
            moved = self._move_previous()
        except OSError as error:
            raise _unusable(self.path, "written", error) from error
        self.write(TUNER_FILE, tuner)
        return moved

    def describe(self, description: dict[str, Any]) -> None:
        """Completes a new run, which can be restored from here on: its journal is there already.

        Args:
            description: Readable facts about the experiment.

        Raises:
            StorageError: It cannot be written to.
        """
        text = json.dumps({"format": FORMAT, **description}, indent=2, default=str)
        self.write(DESCRIPTION_FILE, text.encode())
        sync_folder(os.path.dirname(self.path))

    def resume(self) -> None:
        """Makes ready for going on with the run that the folder holds."""
        self.await_recorder()
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self.path, RESULTS_FILE))  # it is written anew at the end

    def entries(self) -> frozenset[str]:
        """The names of what lies in the folder."""
        return frozenset(os.listdir(self.path))

    def write(self, name: str, content: bytes) -> None:
        """Writes a file so that it is there whole or not at all, also after a loss of power.

        Raises:
            StorageError: It cannot be written.
        """
        path = os.path.join(self.path, name)
        try:
            with open(path + ".part", "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(path + ".part", path)
            sync_folder(self.path)
        except OSError as error:
            raise _unusable(path, "written", error) from error

    def release(self) -> None:
        """Lets others write to the folder."""
        self._lock_file.close()

    def _lock(self) -> None:
        if not self._take_lock():
            self._lock_file.seek(0)
            holder = self._lock_file.read().strip() or "another process"
            self._lock_file.close()
            raise ExperimentLockedError(
                f"{self.path} is being written to by {holder}; wait for it to end, or give this "
                "run another RunConfig(name=…)"
            )
        _lock_files.add(self._lock_file)
        self._lock_file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._lock_file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
        self._lock_file.flush()

    def _take_lock(self) -> bool:
        """Takes the lock; whether it was free.

        A process that is killed while it starts another one leaves its files to that one, until it
        has begun.
        """
        self._lock_file.seek(0)
        is_left = _has_ended(self._lock_file.read())
        return _locked_within(_LEFT_TIMEOUT_S if is_left else 0.0, self._lock_file)

    def await_recorder(self) -> None:
        """Waits for the recorder of a run whose driver was killed to complete its files.

        One that takes long, as its storage does not answer, is killed: the next one goes on where
        it was.
        """
        path = os.path.join(self.path, JOURNAL_FOLDER, RECORDER_LOCK)
        if not os.path.exists(path):
            return
        with open(path, "a+") as file:
            if _locked_within(0.0, file):
                return
            logger.warning("%s: an earlier run's files are being completed first", self.path)
            if _locked_within(_RECORDER_TIMEOUT_S, file):
                return
            file.seek(0)
            pid = file.read().strip()
            logger.warning("process %s takes too long at that and is ended", pid)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            fcntl.flock(file, fcntl.LOCK_EX)

    def _move_previous(self) -> str | None:
        present = [name for name in OF_ONE_RUN if os.path.lexists(os.path.join(self.path, name))]
        if not present:
            return None
        number = 1
        self.await_recorder()
        while os.path.exists(target := os.path.join(self.path, PREVIOUS, f"{number:04d}")):
            number += 1
        os.makedirs(target)
        for name in present:
            os.rename(os.path.join(self.path, name), os.path.join(target, name))
        return target


def _has_ended(holder: str) -> bool:
    """Whether what a lock names is a process of this machine that is gone."""
    named = re.match(r"process (\d+) on (\S+) since", holder)
    if named is None or named[2] != socket.gethostname():
        return False
    return not is_alive(int(named[1]))


def _locked_within(timeout_s: float, file: IO[str]) -> bool:
    """Whether a file's lock could be had by then."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def new_folder(storage_path: str, name: str) -> str:
    """Makes a folder that did not exist before, numbered if the name is taken.

    Raises:
        StorageError: it cannot be made.
    """
    _make(storage_path)
    for number in itertools.count(1):
        path = os.path.join(storage_path, name if number == 1 else f"{name}_{number}")
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            break
    return path


def default_storage_path() -> str:
    """Where experiments go unless told otherwise: `TUNER_RESULTS_DIR`, else `~/tuner_results`."""
    configured = os.environ.get("TUNER_RESULTS_DIR")
    return configured or str(Path.home() / "tuner_results")


def _make(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise _unusable(path, "made", error) from error


def _unusable(path: str, use: str, error: OSError) -> StorageError:
    return StorageError(
        f"RunConfig: storage_path: {path!r} cannot be {use} ({error.strerror}); give a folder "
        "that can be written to, with room for the results"
    )
