"""Places at which a test can have this process killed.

`TUNER_FAILPOINT="<name>"`, or `"<name>:<n>"` for the n-th time it is reached, kills the process by
SIGKILL there; the variable is inherited by all processes of an experiment. With
`TUNER_FAILPOINT_LOG` naming a file, the name is appended to it first, which proves that the place
was reached. Without the variable, a place costs one comparison.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "TUNER_FAILPOINT"
LOG_VARIABLE = "TUNER_FAILPOINT_LOG"

JOURNAL_WRITE = "in the middle of a journal write"
JOURNALED = "between journal and command"
CHECKPOINT_COPY = "in the middle of a checkpoint's copy"
CHECKPOINT_RENAME = "before a checkpoint's rename"
SNAPSHOT = "in the middle of a snapshot"
RECORDING = "in the middle of recording"
REBUILT = "in the middle of a restore"
RESUMED = "at the end of a restore"
UPLOAD = "before the upload of a segment"

_name, _, _times = os.environ.get(VARIABLE, "").partition(":")
_left = int(_times or 1)


def is_due(name: str) -> bool:
    """Whether the process is to be killed here, after which `die` is to be called."""
    global _left
    if name != _name:
        return False
    _left -= 1
    return _left == 0


def die() -> None:
    """Kills this process, after a note that it was reached."""
    log = os.environ.get(LOG_VARIABLE)
    if log:
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{_name}\n".encode())
        os.close(fd)
    os.kill(os.getpid(), signal.SIGKILL)


def reach(name: str) -> None:
    """Kills this process if that is wanted here."""
    if is_due(name):
        die()
