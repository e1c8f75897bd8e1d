"""Folders of a node for trials that do not see their own; nothing of them is left."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

VARIABLE = "TUNER_SCRATCH_DIR"
_PREFIX = "tuner_slot_"
_NEW_PREFIX = "tuner_new_slot_"  # until it is locked
_REMOVE_AT_EOF = 'exec 3<&0; { read _ <&3; rm -rf -- "$0"; } &'


@contextlib.contextmanager
def scratch_folder(name: object) -> Iterator[str]:
    """A folder that exists while entered, below `TUNER_SCRATCH_DIR` or the temporary folder.

    Ray kills actors without notice, and trials end them. Then a process of its own removes the
    folder; if that was killed as well, the next slot here does.

    Args:
        name: Of what it is for, such as the number of a slot; part of the folder's name.
    """
    root = os.environ.get(VARIABLE) or tempfile.gettempdir()
    os.makedirs(root, exist_ok=True)
    for left in glob.glob(os.path.join(glob.escape(root), f"{_PREFIX}*")):
        _remove_unless_in_use(left)
    new = tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=root)
    lock = os.open(new, os.O_RDONLY)
    with contextlib.suppress(OSError):  # where folders cannot be locked, nothing is removed
        fcntl.flock(lock, fcntl.LOCK_EX)  # until this process ends, however it does
    path = new.replace(_NEW_PREFIX, f"{_PREFIX}{name}_")
    os.rename(new, path)
    with contextlib.ExitStack() as end:
        end.callback(os.close, lock)
        end.enter_context(_removed_after_this_process(path))
        end.callback(shutil.rmtree, path, ignore_errors=True)
        yield path


def worker_folder(scratch: str, worker_id: int) -> str:
    """The folder of one worker in that of its slot."""
    return os.path.join(scratch, str(worker_id))


@contextlib.contextmanager
def _removed_after_this_process(path: str) -> Iterator[None]:
    """Has a process wait for the end of this one, and remove a folder then.

    It is no child of this one, as Ray kills the children of an actor with it.
    """
    command = ["sh", "-c", _REMOVE_AT_EOF, path]
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=null, start_new_session=True) as starter:
        starter.wait()  # what it has started goes on, until its input ends with this process
        yield


def _remove_unless_in_use(path: str) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        finally:
            os.close(lock)
