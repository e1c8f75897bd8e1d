"""One thread for libraries that model: small matrices are quicker so, and the bits the same."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """While entered, the thread pools of this process (BLAS, OpenMP) have one thread.

    How many there are decides in which order sums are taken. A restore on another machine, which
    may have more cores, is to propose the same.

    Example:
        >>> import numpy as np
        >>> with one_thread():
        ...     float(np.ones(3) @ np.ones(3))
        3.0
    """
    # Not `ThreadpoolController.limit`, which takes 0.1 ms to look at much more.
    pools = _controller().lib_controllers
    before = [pool.get_num_threads() for pool in pools]
    for pool in pools:
        pool.set_num_threads(1)
    try:
        yield
    finally:
        for pool, number in zip(pools, before, strict=True):
            pool.set_num_threads(number)


@functools.cache
def _controller() -> ThreadpoolController:
    """The pools of the libraries that are loaded when first asked; finding them takes 10 ms."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
