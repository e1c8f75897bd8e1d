"""Folders of a node for trials that do not see their own; nothing of them is left."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator

VARIABLE = "TUNER_SCRATCH_DIR"
_PREFIX = "tuner_slot_"
_NEW_PREFIX = "tuner_new_slot_"  # until it is locked


@contextlib.contextmanager
def scratch_folder(slot_id: int) -> Iterator[str]:
    """A folder that exists while entered, below `TUNER_SCRATCH_DIR` or the temporary folder.

    Ray kills actors without notice; what these leave behind is removed by the next slot here.

    Args:
        slot_id: The slot that it is for.
    """
    root = os.environ.get(VARIABLE) or tempfile.gettempdir()
    os.makedirs(root, exist_ok=True)
    for left in glob.glob(os.path.join(glob.escape(root), f"{_PREFIX}*")):
        _remove_unless_in_use(left)
    new = tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=root)
    lock = os.open(new, os.O_RDONLY)
    with contextlib.suppress(OSError):  # where folders cannot be locked, nothing is removed
        fcntl.flock(lock, fcntl.LOCK_EX)  # until this process ends, however it does
    path = new.replace(_NEW_PREFIX, f"{_PREFIX}{slot_id}_")
    os.rename(new, path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def worker_folder(scratch: str, worker_id: int) -> str:
    """The folder of one worker in that of its slot."""
    return os.path.join(scratch, str(worker_id))


def _remove_unless_in_use(path: str) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        finally:
            os.close(lock)
