"""Processes that never outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent: int, signum: int) -> None:
    """Asks the kernel to signal this process as soon as its parent dies (Linux).

    Args:
        parent: The parent's process id; if it is gone already, this process ends at once.
        signum: The signal.
    """
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent dies (Linux)."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_group(pid: int, signum: int) -> None:
    """Signals a process group; without effect if none of its processes is left."""
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):
        return


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
