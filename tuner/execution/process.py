"""What concerns a process as a whole: whom it must not outlive, and what it still holds back."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KILL_FOR_S = 5.0


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
    """Signals a child's process group, or the child alone where it has not made its group yet."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(pid, signum)
        except ProcessLookupError:
            os.kill(pid, signum)


def kill_children() -> None:
    """Kills all children of this process, and those that it adopts by that (Linux)."""
    deadline = time.monotonic() + _KILL_FOR_S
    while time.monotonic() < deadline:
        children = _children()
        if not children:
            return
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def flush_c_output() -> None:
    """Writes out what C code has printed and the C library still holds back."""
    import ctypes

    ctypes.CDLL(None).fflush(None)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def open_standard_descriptors() -> None:
    """Opens the null device as standard input, output or error where the process has none.

    Otherwise the next file that is opened would be taken for it, by C code and by child processes.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free
