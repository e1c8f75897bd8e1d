"""How many threads numeric libraries use in a worker."""

from __future__ import annotations

import os
import sys

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_NATIVE_LIBRARIES = ("numpy", "scipy", "sklearn", "torch", "cv2")


def single_threaded(environ: dict[str, str]) -> dict[str, str]:
    """The environment in which numeric libraries start no thread pool when they are imported."""
    return {**environ, **dict.fromkeys(VARIABLES, "1")}


def set_num_threads(count: int, chosen: dict[str, str]) -> None:
    """Sets the number of threads, for libraries that are loaded and for those yet to come.

    Environment variables alone come too late for libraries that were loaded before a fork.

    Args:
        count: How many threads.
        chosen: Variables that the user has set; they win.
    """
    for name in VARIABLES:
        os.environ[name] = chosen.get(name, str(count))
    threads = int(chosen["OMP_NUM_THREADS"]) if _is_count(chosen) else count
    if threads == 1 or not any(name in sys.modules for name in _NATIVE_LIBRARIES):
        return
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def chosen_variables() -> dict[str, str]:
    """The variables that the user has set in this process."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def _is_count(chosen: dict[str, str]) -> bool:
    return chosen.get("OMP_NUM_THREADS", "").isdigit()
