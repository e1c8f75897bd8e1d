"""The recorder's side of the process that sends to MLflow."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import orjson

from tuner.integrations.mlflow_patience import request_timeout_s, wait_s
from tuner.integrations.mlflow_sender import Task, undelivered
from tuner.interpreter import start_with_task

logger = logging.getLogger(__name__)

_MODULE = "tuner.integrations.mlflow_sender"
_MARGIN_S = 5.0
_MAX_RESTARTS = 3
_EXIT_S = 5.0  # from the end of what it says to its own


class SenderProcess:
    """Starts and ends the process; nothing but `finish` waits for it.

    Args:
        task: What it sends.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._complete: list[str] = []
        self._restarts = 0
        self._start()

    def keep_alive(self) -> None:
        """Starts it again if it has died, a few times; it finds out what the server has."""
        code = self._process.poll()
        if code and self._restarts < _MAX_RESTARTS:  # 0: it has refused its work, and said why
            self._restarts += 1
            self._restart(code)

    def tell_complete(self, trial_ids: list[str]) -> None:
        """Tells it of trials all of whose files are written."""
        self._complete += trial_ids
        self._tell_complete(trial_ids)

    def finish(self, on_progress: Callable[[], None]) -> list[str]:
        """Lets it send what is left, as long as the server takes something now and then.

        Args:
            on_progress: Called when the server has taken something.

        Returns:
            What MLflow does not have, in words.
        """
        messages = self._end(on_progress)
        if messages is None and (code := self._died()):
            self._restart(code)
            messages = self._end(on_progress)
        why = _how(code) if messages is None and (code := self._died()) else "it takes too long"
        self._process.kill()  # nothing is left to be done, and leaving Python takes a while
        self._process.wait()
        return [undelivered(self._task, "everything", why)] if messages is None else messages

    def _start(self) -> None:
        self._process, self._control = start_with_task(_MODULE, self._task)
        self._control.settimeout(1.0)

    def _restart(self, code: int) -> None:
        if self._restarts <= 1:
            logger.warning("%s; it is started again, and nothing is lost", _how(code))
        self._control.close()
        self._start()
        self._tell_complete(self._complete)

    def _tell_complete(self, trial_ids: list[str]) -> None:
        with suppress(OSError):
            self._control.sendall(orjson.dumps(trial_ids) + b"\n")

    def _end(self, on_progress: Callable[[], None]) -> list[str] | None:
        """What it says at its end, None if it says nothing."""
        with self._control, suppress(OSError):
            with suppress(BrokenPipeError):  # it may have said everything before
                self._control.sendall(b"end\n")
            return self._wait(on_progress)
        return None

    def _died(self) -> int:
        """The exit code of a process that has said nothing; 0 if it lives, and is only slow."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_EXIT_S)
        return 0

    def _wait(self, on_progress: Callable[[], None]) -> list[str] | None:
        """What it says at its end, None if it dies or takes too long."""
        margin = request_timeout_s() + _MARGIN_S
        deadline = time.monotonic() + wait_s() + margin
        buffer = b""
        while True:
            self._control.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._control.recv(65536)
            if not data:
                return None
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                news = orjson.loads(line)
                if "messages" in news:
                    messages: list[str] = news["messages"]
                    return messages
                deadline = time.monotonic() + news["patience_s"] + margin
                on_progress()


def _how(code: int) -> str:
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return f"the process that sends to MLflow ended {how}"
