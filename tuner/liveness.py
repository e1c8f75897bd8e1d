"""Whether a process of this machine is there."""

from __future__ import annotations

import os


def is_alive(pid: int, *, is_ours: bool = False) -> bool:
    """Whether a process has this id.

    Args:
        pid: The id; 0 and less are no process's.
        is_ours: Whether one of another user does not count.
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return not is_ours
    return True
