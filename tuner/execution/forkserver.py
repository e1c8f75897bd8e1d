"""The fork server: a process that has loaded the trainable and forks a worker on request.

It is started by `exec`, so nothing of the driver but the pickled trainable is in it, and while it
loads, numeric libraries are limited to one thread, so that no thread pool exists at a fork.

Requests and notices are datagrams in JSON; a request to fork carries the worker's socket and its
output pipe as file descriptors.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from typing import Any

from tuner.execution.loading import load_trainable
from tuner.execution.process import (
    adopt_orphans,
    die_with_parent,
    kill_children,
    kill_group,
)
from tuner.execution.protocol import MAX_DATAGRAM
from tuner.execution.worker import run_worker


class ForkServer:
    """Forks workers and tells of their ends.

    Args:
        control: A connected datagram socket (SOCK_SEQPACKET) to the controller.
        trainable: What workers train.
        settings: `hostname`, `node_ip`, `chosen` for `worker.serve`.
    """

    def __init__(self, control: socket.socket, trainable: Any, settings: dict[str, Any]) -> None:
        self._control = control
        self._trainable = trainable
        self._settings = settings
        self._worker_ids: dict[int, int] = {}  # by process id
        self._pids: dict[int, int] = {}  # by worker id
        self._is_told_to_end = False
        self._open: list[Any] = []  # what a forked worker is to close

    def run(self) -> None:
        """Serves until the controller closes its end or dies, then kills what is left."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)  # raises nothing: kills must be complete
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        self._open = [selector, self._control, wake_read, wake_write]
        selector.register(self._control, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        try:
            while not self._is_told_to_end:
                ready = {key.fileobj for key, _ in selector.select()}
                if wake_read in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                    self._reap()
                if self._control in ready and not self._on_request():
                    return
        finally:
            self._kill_all()

    def _on_sigterm(self, signum: int, frame: object) -> None:
        self._is_told_to_end = True

    def _on_request(self) -> bool:
        """Handles one request; False when the controller is gone."""
        try:
            data, fds, _, _ = socket.recv_fds(self._control, MAX_DATAGRAM, 2)
        except ConnectionResetError:  # it left without having read all notices
            return False
        if not data:
            return False
        request = json.loads(data)
        if request["do"] == "fork":
            self._fork(request["worker"], fds)
        elif request["do"] == "kill" and request["worker"] in self._pids:
            kill_group(self._pids[request["worker"]], request["signal"])
        return True

    def _fork(self, worker_id: int, fds: list[int]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until the child heeds it
        try:
            pid = os.fork()
        except OSError as error:
            why = f"no process could be forked for it: {error}"
            _tell(self._control, {"event": "exited", "worker": worker_id, "code": 1, "why": why})
            return
        else:
            if pid == 0:
                _become_worker(fds, self._trainable, self._settings, self._open)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            for fd in fds:
                os.close(fd)
        self._worker_ids[pid] = worker_id
        self._pids[worker_id] = pid

    def _reap(self) -> None:
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None:
                return
            worker_id = self._worker_ids.pop(info.si_pid, None)
            if worker_id is not None:
                del self._pids[worker_id]
                kill_group(info.si_pid, signal.SIGKILL)  # what the trial itself has started
            _, status = os.waitpid(info.si_pid, 0)
            if worker_id is not None:
                code = os.waitstatus_to_exitcode(status)
                _tell(self._control, {"event": "exited", "worker": worker_id, "code": code})

    def _kill_all(self) -> None:
        for pid in self._worker_ids:
            kill_group(pid, signal.SIGKILL)
        for pid in self._worker_ids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        kill_children()


def _tell(control: socket.socket, notice: dict[str, Any]) -> None:
    """Sends a notice to the controller, unless it is gone."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        control.send(json.dumps(notice).encode())


def _become_worker(
    fds: list[int], trainable: Any, settings: dict[str, Any], of_server: list[Any]
) -> None:
    """Turns a freshly forked child into a worker; never returns.

    Args:
        fds: The worker's line and its output.
        trainable: What it trains.
        settings: For `worker.serve`.
        of_server: What the fork server has open and is to be closed here.
    """
    parent = os.getppid()
    code = 1
    try:
        os.setsid()
        die_with_parent(parent, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for each in of_server:
            os.close(each) if isinstance(each, int) else each.close()
        line, output = fds
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        run_worker(line, trainable, settings)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def fork_is_unsafe() -> str | None:
    """Why a fork of this process would not work, None if it would."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is initialized by the import of the trainable's modules"
    return None


def main() -> None:
    """Loads the trainable, then serves; all that it needs comes as one JSON argument."""
    code = 0
    try:
        _serve(json.loads(sys.argv[1]))
    except SystemExit:  # the controller is gone, or asked for it
        pass
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        kill_children()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError):
                stream.flush()
        os._exit(code)  # threads that the user's modules have started wait for nobody


def _serve(arguments: dict[str, Any]) -> None:
    control = socket.socket(fileno=arguments["control"])
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit())
    die_with_parent(arguments["parent"], signal.SIGTERM)
    sys.argv = arguments["argv"]
    try:
        trainable = load_trainable(arguments["payload"])
        for name in arguments["modules"]:
            importlib.import_module(name)
    except BaseException:
        text = traceback.format_exc()[-MAX_DATAGRAM // 4 :]
        _tell(control, {"event": "failed", "error": text})
        return
    unsafe = fork_is_unsafe()
    if unsafe is not None:
        _tell(control, {"event": "unsafe", "why": unsafe})
        return
    gc.collect()
    gc.freeze()
    _tell(control, {"event": "ready"})
    ForkServer(control, trainable, arguments["settings"]).run()
