"""One thread for libraries that model: small matrices are quicker so, and the bits the same."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


def one_thread() -> Any:
    """While entered, the thread pools of this process (BLAS, OpenMP) have one thread.

    How many there are decides in which order sums are taken. A restore on another machine, which
    may have more cores, is to propose the same.

    Example:
        >>> import numpy as np
        >>> with one_thread():
        ...     float(np.ones(3) @ np.ones(3))
        3.0
    """
    return _controller().limit(limits=1)


@functools.cache
def _controller() -> ThreadpoolController:
    """The pools of the libraries that are loaded when first asked; finding them takes 10 ms."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
