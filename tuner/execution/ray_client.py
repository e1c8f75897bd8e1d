"""Experiments of a script that is connected to a Ray cluster from outside, by `ray://`.

Nothing in the cluster can connect to such a script. So the whole experiment runs inside: its
controller is an actor on the head node, and the script waits for the results.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from tuner.execution.ray_cluster import ADDRESS_VARIABLE

logger = logging.getLogger(__name__)

_CLIENT_SCHEME = "ray://"
_HEAD_NODE: dict[str, Any] = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
_SIGNALS_ARE_SEEN_AFTER_S = 0.5
_CONNECTS = 3  # the process that the head node starts for a client dies at times, saying nothing


T = TypeVar("T")


def is_outside(executor: Any) -> bool:
    """Whether trials are to run on a cluster to which this process is connected from outside.

    Args:
        executor: What `RunConfig(executor=…)` was given.
    """
    if isinstance(executor, str) and executor not in ("auto", "ray"):
        return False
    if not isinstance(executor, str) and not hasattr(executor, "address"):
        return False
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        return bool(ray.util.client.ray.is_connected())
    return (_address(executor) or "").startswith(_CLIENT_SCHEME)


def run_inside(function: Callable[[], T], executor: Any) -> T:
    """Calls a function on the head node, and waits for what it returns.

    A Ctrl-C or SIGTERM here reaches the function as one; a second one ends it at once.

    Args:
        function: The function.
        executor: What `RunConfig(executor=…)` was given.

    Raises:
        Whatever the function raises.
    """
    import ray

    if not ray.is_initialized():
        _connect(_address(executor))
    logger.warning(
        "connected by ray://: the experiment runs on the head node of the cluster, where local "
        "paths lead to its disk and callbacks are called; use a storage_path that both see"
    )
    with _NotedSignals() as signals:
        controller: Any = ray.remote(**_HEAD_NODE)(Controller).remote()
        pid = controller.pid.remote()
        reference = controller.call.remote(function, sys.argv)
        _wait(reference, controller, pid, signals)
        ended: T = _result(reference)
    path = getattr(ended, "experiment_path", None)
    if signals.numbers and path is not None:
        # What the head node prints may come when this script has ended.
        logger.warning('Tuner.restore("%s").fit() goes on from here', path)
    return ended


def _address(executor: Any) -> str | None:
    return getattr(executor, "address", None) or os.environ.get(ADDRESS_VARIABLE)


def _connect(address: str | None) -> None:
    import ray

    for _ in range(_CONNECTS - 1):
        try:
            ray.init(address=address)
        except ConnectionAbortedError as error:
            reason = str(error).strip().splitlines()[-1]
            logger.warning("%s: connecting once more after %s", address, reason)
        else:
            return
    ray.init(address=address)


class Controller:
    """The process on the head node, an actor; what it prints is shown under this name."""

    def pid(self) -> int:
        """What a signal is to be sent to."""
        return os.getpid()

    def call(self, function: Callable[[], T], argv: list[str]) -> T | None:
        """Calls the function as a script with these arguments would; None if it was interrupted.

        Ray blocks SIGINT in its processes. One that came before is delivered here.
        """
        sys.argv = argv
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            return function()
        except KeyboardInterrupt:  # which Ray would take for its own
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


class _NotedSignals:
    """While entered, notes signals to end; off the main thread it does nothing.

    A handler that raises is no use here: what it raises gets lost inside of Ray's client.

    Attributes:
        numbers: The signals that came.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _NotedSignals:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self.numbers.append(signum)


def _wait(reference: Any, controller: Any, pid: Any, signals: _NotedSignals) -> None:
    import ray

    send: Any = ray.remote(max_retries=0, **_HEAD_NODE)(_send_signal)
    sent = None
    while not ray.wait([reference], timeout=_SIGNALS_ARE_SEEN_AFTER_S)[0]:
        if len(signals.numbers) > 1:
            ray.kill(controller)
            raise KeyboardInterrupt
        if signals.numbers and sent is None:
            sent = send.remote(pid, signals.numbers[0])


def _send_signal(pid: int, signum: int) -> None:
    os.kill(pid, signum)


def _result(reference: Any) -> Any:
    import ray

    try:
        ended = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    if ended is None:
        raise KeyboardInterrupt
    return ended
