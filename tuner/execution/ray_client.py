"""Experiments of a script that is connected to a Ray cluster from outside, by `ray://`.

Nothing in the cluster can connect to such a script. So the whole experiment runs inside: its
controller is a task on the head node, and the script waits for the results.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from tuner.execution.ray_cluster import ADDRESS_VARIABLE
from tuner.result_grid import ResultGrid

logger = logging.getLogger(__name__)

_CLIENT_SCHEME = "ray://"
_HEAD_NODE = {"node:__internal_head__": 0.001}


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


def run_inside(function: Callable[[], ResultGrid], executor: Any) -> ResultGrid:
    """Calls a function on the head node, and waits for what it returns.

    A Ctrl-C here reaches the function as one.

    Args:
        function: The function.
        executor: What `RunConfig(executor=…)` was given.

    Raises:
        Whatever the function raises.
    """
    import ray

    if not ray.is_initialized():
        ray.init(address=_address(executor))
    logger.warning(
        "connected by ray://: the experiment runs on the head node of the cluster, where local "
        "paths lead to its disk and callbacks are called; use a storage_path that both see"
    )
    task: Any = ray.remote(num_cpus=0, max_retries=0, resources=_HEAD_NODE)(_call)
    reference = task.remote(function, sys.argv)
    try:
        return _result(reference)
    except KeyboardInterrupt:
        ray.cancel(reference)
        grid = _result(reference)
        # What the head node prints may come when this script has ended.
        logger.warning('Tuner.restore("%s").fit() goes on from here', grid.experiment_path)
        return grid


def _address(executor: Any) -> str | None:
    return getattr(executor, "address", None) or os.environ.get(ADDRESS_VARIABLE)


def _call(function: Callable[[], ResultGrid], argv: list[str]) -> ResultGrid:
    sys.argv = argv
    return function()


def _result(reference: Any) -> ResultGrid:
    import ray

    try:
        grid: ResultGrid = ray.get(reference)
        return grid
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
