"""Places at which a test can have a process killed.

`TUNER_FAILPOINT="<name>:<n>"` kills by SIGKILL the process that is the n-th to come to a place.
All processes of an experiment inherit the variable and count together in the file that
`TUNER_FAILPOINT_LOG` names, by a line for each time: so one of them is killed, however often they
are started again, and the file proves it. Without the variable, a place costs one comparison.
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum

VARIABLE = "TUNER_FAILPOINT"
LOG_VARIABLE = "TUNER_FAILPOINT_LOG"


class Failpoint(StrEnum):
    """Where a process can be killed."""

    JOURNAL_WRITE = "in the middle of a journal write"
    JOURNALED = "between journal and command"
    CHECKPOINT_COPY = "in the middle of a checkpoint's copy"
    CHECKPOINT_RENAME = "before a checkpoint's rename"
    SNAPSHOT = "in the middle of a snapshot"
    RECORDING = "in the middle of recording"
    REBUILT = "in the middle of a restore"
    RESUMED = "at the end of a restore"
    UPLOAD = "before the upload of a segment"
    CHECKPOINT_UPLOAD = "in the middle of a checkpoint's upload"


_name, _, _number = os.environ.get(VARIABLE, "").partition(":")


def is_due(place: Failpoint) -> bool:
    """Whether the process is to be killed here, after which `die` is to be called."""
    return bool(_name) and place == _name and _count() == int(_number)


def die() -> None:
    """Kills this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def reach(place: Failpoint) -> None:
    """Kills this process if that is wanted here."""
    if is_due(place):
        die()


def _count() -> int:
    """How often the place was reached by now, in all processes together."""
    line = f"{_name}\n".encode()
    log = os.open(os.environ[LOG_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(log, line)
        return os.lseek(log, 0, os.SEEK_CUR) // len(line)
    finally:
        os.close(log)
