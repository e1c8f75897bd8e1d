"""A worker started as a fresh interpreter, where a fork after the load would not be safe.

Its first process forks the worker before anything is loaded, and then only watches it, so that
whatever a trial has started ends with it, also when the controller is killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import NoReturn

from tuner.execution.loading import load_trainable
from tuner.execution.process import adopt_orphans, die_with_parent, kill_children, kill_group
from tuner.execution.protocol import WATCHER_KILL
from tuner.execution.worker import run_worker


def main() -> None:
    """Starts the worker and watches it; all that it needs comes as one JSON argument."""
    arguments = json.loads(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, WATCHER_KILL})
    adopt_orphans()
    watcher = os.getpid()
    worker = os.fork()
    os.setpgid(worker, worker)
    if worker != 0:
        os.close(arguments["line"])
        _watch(worker, arguments["parent"], arguments["ended"])
    os.close(arguments["ended"])
    die_with_parent(watcher, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, WATCHER_KILL})
    sys.argv = arguments["argv"]
    trainable = load_trainable(arguments["payload"])
    run_worker(arguments["line"], trainable, arguments["settings"])


def _watch(worker: int, parent: int, ended: int) -> NoReturn:
    """Passes signals on, and tells the worker's exit code when nothing of it is left."""
    signal.signal(signal.SIGTERM, lambda signum, frame: kill_group(worker, signal.SIGTERM))
    signal.signal(WATCHER_KILL, lambda signum, frame: kill_group(worker, signal.SIGKILL))
    die_with_parent(parent, WATCHER_KILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, WATCHER_KILL})
    os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)
    kill_group(worker, signal.SIGKILL)  # what the trial itself has started
    _, status = os.waitpid(worker, 0)
    kill_children()
    os.write(ended, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)
