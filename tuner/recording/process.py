"""The controller's side of the recorder process."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import cloudpickle
import orjson

from tuner.callbacks.logger import LoggerCallback
from tuner.errors import ConfigError
from tuner.interpreter import start_with_task

if TYPE_CHECKING:
    from tuner.experiment.retention import Retention
    from tuner.storage.upload_plan import UploadPlan

logger = logging.getLogger(__name__)

_MODULE = "tuner.recording.recorder"
_KILL_AFTER_S = 2.0
_NOTICE_AFTER_S = 3.0
_MAX_REVIVALS = 10


class RecorderProcess:
    """Starts and ends the process that writes the files of an experiment.

    It follows the experiment's journal, whatever becomes of the controller: when that dies, all
    that is in the journal is still recorded. None of the methods but `finish` waits for it.

    Args:
        experiment_path: The experiment's folder, on a local filesystem, with its `journal/`.
        loggers: What runs in the recorder.
        upload_plan: How the experiment is brought to remote storage, None if it stays here.
        retention: Which checkpoints are kept; all, without it.
        environ: Environment variables for the process, beside those of this one.

    Raises:
        ConfigError: A logger cannot be pickled.
    """

    CHECK_PERIOD_S = 5.0

    def __init__(
        self,
        experiment_path: str,
        loggers: Sequence[LoggerCallback],
        upload_plan: UploadPlan | None = None,
        retention: Retention | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._path = os.path.abspath(experiment_path)
        self._upload_plan = pickle.dumps(upload_plan)
        self._retention = retention
        self._environ = environ
        self._pickled = [_pickle(each) for each in loggers]
        delivers_to = (each.delivers_to for each in loggers)
        self._delivers_to = list(dict.fromkeys(each for each in delivers_to if each))
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._next_check = 0.0
        self._num_revivals = _MAX_REVIVALS

    def start(self) -> None:
        """Starts the process, which goes on where an earlier one for this experiment ended."""
        task = {
            "experiment_path": self._path,
            "loggers": self._pickled,
            "upload_plan": self._upload_plan,
            "retention": self._retention,
            "controller": os.getpid(),
        }
        if self._control is not None:
            self._control.close()
        self._process, self._control = start_with_task(
            _MODULE, task, env={**os.environ, **self._environ}, start_new_session=True
        )

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def revive(self) -> None:
        """Starts the process again if it was killed; looks at most every few seconds."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + self.CHECK_PERIOD_S
        if self._process is not None and not self.is_alive() and self._num_revivals:
            self._num_revivals -= 1
            logger.warning("the recorder process died and is started again")
            self.start()

    def finish(self, timeout_s: float) -> list[str]:
        """Lets it record what is in the journal and waits for it to end.

        A recorder that was killed meanwhile is started once more, as none of its work is lost.

        Args:
            timeout_s: After so many seconds without a sign of progress it is killed; starting it
                again completes the files.

        Returns:
            What failed, one message each, empty if all is well.
        """
        notice = threading.Timer(_NOTICE_AFTER_S, self._say_that_it_takes_long, [timeout_s])
        notice.start()
        try:
            return self._finish(timeout_s)
        finally:
            notice.cancel()

    def _say_that_it_takes_long(self, timeout_s: float) -> None:
        awaited = [
            f"the files in {self._path} (at most {timeout_s:g} s without progress)",
            *self._delivers_to,
        ]
        logger.warning("completing %s …", " and what goes to ".join(awaited))

    def _finish(self, timeout_s: float) -> list[str]:
        try:
            messages = self._wait(timeout_s)
            if messages is None:
                logger.warning("the recorder process died and is started again")
                self.start()
                messages = self._wait(timeout_s)
        except TimeoutError:
            return [
                f"the recorder process was not done after {timeout_s:g} s and was killed: "
                f"files in {self._path} are incomplete until the experiment is restored"
            ]
        if messages is None:
            return [f"the recorder process died again: files in {self._path} are incomplete"]
        return messages

    def _wait(self, timeout_s: float) -> list[str] | None:
        """Ends the process; its messages, None if it died.

        Raises:
            TimeoutError: It gave no sign of progress for so long.
        """
        if self._process is None or self._control is None:
            return None
        try:
            with self._control as control:
                answer = _ask_to_end(control, timeout_s)
        except TimeoutError:
            self._reap(self._process, 0)
            raise
        self._reap(self._process, _KILL_AFTER_S if answer else 0)
        messages: list[str] | None = orjson.loads(answer) if answer else None
        return messages

    def _reap(self, process: subprocess.Popen[bytes], patience_s: float) -> None:
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = self._control = None


def _ask_to_end(control: socket.socket, timeout_s: float) -> bytes:
    """What the recorder sends until it closes its end; nothing if it died before.

    Raises:
        TimeoutError: Nothing came for so long; spaces before the answer are signs of progress.
    """
    answer = b""
    try:
        control.settimeout(timeout_s)
        control.shutdown(socket.SHUT_WR)
        while part := control.recv(65536):
            answer = (answer + part).lstrip()
    except TimeoutError:
        raise
    except OSError:
        return b""
    return answer


def _pickle(callback: LoggerCallback) -> bytes:
    try:
        pickled: bytes = cloudpickle.dumps(callback)
    except Exception as error:
        raise ConfigError(
            f"callbacks: {type(callback).__name__} cannot be pickled for the recorder process "
            f"({error}); give it in_recorder = False"
        ) from error
    return pickled
