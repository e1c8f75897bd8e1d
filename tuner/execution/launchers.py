"""Two ways to start a worker process: a fork of a warm fork server, or a fresh interpreter."""

from __future__ import annotations

import collections
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Protocol

from tuner.errors import TrainableError
from tuner.execution import machine, threads
from tuner.execution.environment import without_secrets
from tuner.execution.protocol import MAX_DATAGRAM, WATCHER_KILL
from tuner.interpreter import python_command

# Prefixes of environment variables; ray.train reads the last.
_TRAVELLING = ("TUNE_", "TUNER_", "MLFLOW_", "RAY_CHDIR_TO_TRIAL_DIR")


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """A worker's process is gone; `code` is negative for a signal, `why` says what is known.

    One that `is_lost` went with its machine.
    """

    worker_id: int
    code: int
    why: str | None = None
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What workers take over from the user's script.

    Attributes:
        argv: Its arguments.
        chosen: Thread-count variables that the user has set.
        environ: Environment variables that concern trials wherever they run.
        modules: Names of modules that workers will need beside the trainable's.
    """

    argv: list[str]
    chosen: dict[str, str]
    environ: dict[str, str]
    modules: tuple[str, ...] = ()

    @classmethod
    def of_this_process(cls, modules: tuple[str, ...] = ()) -> WorkerSetup:
        """That of the script that runs in this process."""
        environ = without_secrets(os.environ)
        travelling = {k: v for k, v in environ.items() if k.startswith(_TRAVELLING)}
        return cls(sys.argv, threads.chosen_variables(), travelling, modules)

    def settings(self) -> dict[str, Any]:
        """The keyword arguments of `worker.serve` that are the same for all workers here."""
        return {
            "hostname": machine.hostname(),
            "node_ip": machine.node_ip(),
            "chosen": self.chosen,
        }


class ForkIsUnsafe(Exception):
    """The fork server cannot fork; workers have to be started by `exec`."""


class Launcher(Protocol):
    """Starts workers and notices their ends.

    Attributes:
        is_ready: Whether it is known to be able to.
    """

    is_ready: bool

    def launch(self, worker_id: int, line: socket.socket, output: int) -> None:
        """Starts a worker with these file descriptors, which stay open here."""

    def kill(self, worker_id: int, signum: int) -> None:
        """Signals a worker and the processes that it has started."""

    def exits(self, ready: set[int]) -> list[WorkerExit]:
        """The workers that ended, given the file descriptors that are readable."""

    def close(self) -> None:
        """Kills every worker that is left."""


class ForkLauncher:
    """Starts workers through a fork server.

    Args:
        payload: Descriptor of the file that holds the trainable.
        selector: Gets the file descriptor to watch.
        setup: What workers take over from the script.
    """

    def __init__(self, payload: int, selector: selectors.BaseSelector, setup: WorkerSetup) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = json.dumps(
            {
                "control": theirs.fileno(),
                "payload": payload,
                "modules": setup.modules,
                "parent": os.getpid(),
                "argv": setup.argv,
                "settings": setup.settings(),
            }
        )
        self._process = subprocess.Popen(
            python_command("tuner.execution.forkserver", arguments),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), payload],
            env=threads.single_threaded(without_secrets(os.environ)),
            start_new_session=True,
        )
        theirs.close()
        ours.setblocking(False)
        self._control = ours
        # What the fork server was too busy to take: requests, with copies of their descriptors.
        self._unsent: collections.deque[tuple[bytes, list[int]]] = collections.deque()
        self._selector = selector
        self.is_ready = False
        selector.register(ours, selectors.EVENT_READ)

    def launch(self, worker_id: int, line: socket.socket, output: int) -> None:
        """Asks the fork server for a worker."""
        self._ask({"do": "fork", "worker": worker_id}, [line.fileno(), output])

    def kill(self, worker_id: int, signum: int) -> None:
        """Asks the fork server to signal a worker."""
        self._ask({"do": "kill", "worker": worker_id, "signal": signum}, [])

    def exits(self, ready: set[int]) -> list[WorkerExit]:
        """Reads the fork server's notices.

        Raises:
            TrainableError: the trainable could not be loaded in a fresh process.
            ForkIsUnsafe: workers cannot be forked.
        """
        if self._control.fileno() not in ready:
            return []
        self._send_rest()
        exits: list[WorkerExit] = []
        while True:
            try:
                data = self._control.recv(MAX_DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return exits
            except ConnectionResetError:  # it left without reading all; what it said comes next
                continue
            if not data:
                raise TrainableError(self._explain_end())
            notice = json.loads(data)
            if notice["event"] == "exited":
                exits.append(WorkerExit(notice["worker"], notice["code"], notice.get("why")))
            elif notice["event"] == "ready":
                self.is_ready = True
            elif notice["event"] == "unsafe":
                raise ForkIsUnsafe(notice["why"])
            elif notice["event"] == "failed":
                raise cannot_be_loaded(notice["error"])

    def close(self) -> None:
        """Ends the fork server, which kills its workers first."""
        for _, fds in self._unsent:
            for fd in fds:
                os.close(fd)
        self._unsent.clear()
        self._selector.unregister(self._control)
        self._control.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, request: dict[str, Any], fds: list[int]) -> None:
        """Sends a request, or keeps it until there is room."""
        message = json.dumps(request).encode()
        if self._unsent or not self._sent(message, fds):
            self._unsent.append((message, [os.dup(fd) for fd in fds]))
            self._watch()

    def _send_rest(self) -> None:
        while self._unsent and self._sent(*self._unsent[0]):
            _, fds = self._unsent.popleft()
            for fd in fds:
                os.close(fd)
            if not self._unsent:
                self._watch()

    def _sent(self, message: bytes, fds: list[int]) -> bool:
        """Whether there was room for a request; a fork server that is gone takes everything."""
        try:
            socket.send_fds(self._control, [message], fds)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            pass
        return True

    def _watch(self) -> None:
        writing = selectors.EVENT_WRITE if self._unsent else 0
        self._selector.modify(self._control, selectors.EVENT_READ | writing)

    def _explain_end(self) -> str:
        code = self._process.wait()
        when = "while trials were running" if self.is_ready else "while it loaded the trainable"
        return f"the fork server ended with exit code {code} {when}"


class SpawnLauncher:
    """Starts every worker as a fresh interpreter.

    Args:
        payload: Descriptor of the file that holds the trainable.
        selector: Gets a file descriptor per worker to watch.
        setup: What workers take over from the script.
    """

    def __init__(self, payload: int, selector: selectors.BaseSelector, setup: WorkerSetup) -> None:
        self.is_ready = True
        self._payload = payload
        self._setup = setup
        self._selector = selector
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._worker_ids: dict[int, int] = {}  # by the descriptor that tells of the end

    def launch(self, worker_id: int, line: socket.socket, output: int) -> None:
        """Starts an interpreter that loads the trainable and serves the line."""
        ended, theirs = os.pipe()
        arguments = json.dumps(
            {
                "line": line.fileno(),
                "ended": theirs,
                "payload": self._payload,
                "parent": os.getpid(),
                "argv": self._setup.argv,
                "settings": self._setup.settings(),
            }
        )
        self._processes[worker_id] = subprocess.Popen(
            python_command("tuner.execution.spawned", arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[line.fileno(), theirs, self._payload],
            env=threads.single_threaded(without_secrets(os.environ)),
            start_new_session=True,
        )
        os.close(theirs)
        self._worker_ids[ended] = worker_id
        self._selector.register(ended, selectors.EVENT_READ)

    def kill(self, worker_id: int, signum: int) -> None:
        """Signals a worker and the processes that it has started."""
        process = self._processes.get(worker_id)
        if process is not None:
            process.send_signal(WATCHER_KILL if signum == signal.SIGKILL else signum)

    def exits(self, ready: set[int]) -> list[WorkerExit]:
        """Collects the workers that ended."""
        ended = [descriptor for descriptor in self._worker_ids if descriptor in ready]
        return [self._collect(descriptor) for descriptor in ended]

    def close(self) -> None:
        """Kills every worker that is left."""
        for worker_id in self._processes:
            self.kill(worker_id, signal.SIGKILL)
        for descriptor in list(self._worker_ids):
            self._collect(descriptor)

    def _collect(self, descriptor: int) -> WorkerExit:
        worker_id = self._worker_ids.pop(descriptor)
        process = self._processes.pop(worker_id)
        self._selector.unregister(descriptor)
        with open(descriptor) as file:
            told = file.read()
        code = process.wait()
        return WorkerExit(worker_id, int(told) if told else code)


def cannot_be_loaded(why: str) -> TrainableError:
    """The error that a worker process cannot have the trainable."""
    return TrainableError(
        "the trainable cannot be loaded in a worker process; its modules must be importable "
        f"there:\n{why}"
    )
