"""The recorder's side of the process that sends to MLflow."""

from __future__ import annotations

import pickle
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress

import orjson

from tuner.integrations.mlflow_sender import Task, undelivered, wait_s
from tuner.interpreter import python_command

_MODULE = "tuner.integrations.mlflow_sender"
_MARGIN_S = 5.0


class SenderProcess:
    """Starts and ends the process; nothing but `finish` waits for it.

    Args:
        task: What it sends.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._control, remote = socket.socketpair()
        with remote, tempfile.TemporaryFile() as stdin:
            pickle.dump(task, stdin)
            stdin.seek(0)
            self._process = subprocess.Popen(
                python_command(_MODULE, str(remote.fileno())),
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                pass_fds=[remote.fileno()],
            )
        self._control.settimeout(1.0)

    def tell_complete(self, trial_ids: list[str]) -> None:
        """Tells it of trials all of whose files are written."""
        with suppress(OSError):
            self._control.sendall(orjson.dumps(trial_ids) + b"\n")

    def finish(self, on_progress: Callable[[], None]) -> list[str]:
        """Lets it send what is left, as long as the server takes something now and then.

        Args:
            on_progress: Called when the server has taken something.

        Returns:
            What MLflow does not have, in words.
        """
        messages = None
        with self._control, suppress(OSError):
            self._control.sendall(b"end\n")
            messages = self._wait(on_progress)
        self._process.kill()  # nothing is left to be done, and leaving Python takes a while
        self._process.wait()
        return [undelivered(self._task, "everything", None)] if messages is None else messages

    def _wait(self, on_progress: Callable[[], None]) -> list[str] | None:
        """What it says at its end, None if it dies or takes too long."""
        deadline = time.monotonic() + wait_s() + _MARGIN_S
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
                deadline = time.monotonic() + news["patience_s"] + _MARGIN_S
                on_progress()
